"""Everything that is measured about the reconstruction of a clip, and the protocol that is written beside it."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np

from cosmos_lidar.families.lidar_tokenizer.autoencode import AutoencodeOptions, DecodedFrame, frame_points
from cosmos_lidar.metrics.chamfer import DEFINITION, Chamfer, chamfer_distance
from cosmos_lidar.metrics.lidar import RangeErrors
from cosmos_lidar.sensors import Sensor

FORMULAS = {
    "pixels": "measured range inside the limits by more than margin_m, after merging columns; all frames pooled",
    "rmse_m": "sqrt(mean d^2), d = measured range - decoded range",
    "mae_m": "mean |d|",
    "relative": "mean(|d| / (measured range + epsilon_m))",
    "both_valid": "the same where measured and decoded range are both inside the limits by more than buffer_m",
    "ray_drop": "positive = no return; decoded no return = decoded range within buffer_m of a limit",
    "psnr_db": "10 log10(1 / mean squared difference) of ranges scaled to [0, 1], every pixel, with return or not",
}


class ClipScore:
    """Metrics of one clip, fed frame by frame.

    Args:
        options: how the frames were made.
        directions: (rows, columns of the full map, 3) rays; None to leave out point clouds and Chamfer distances.
        chamfer_window_m: only points with a range in this interval are compared.
    """

    def __init__(
        self,
        options: AutoencodeOptions,
        directions: np.ndarray | None,
        chamfer_window_m: tuple[float, float] = (5.0, 65.0),
    ) -> None:
        self.options, self.directions, self.window_m = options, directions, chamfer_window_m
        self.errors = RangeErrors(options.range_protocol())
        self.chamfer: list[Chamfer] = []
        self.frames, self.seconds = 0, 0.0
        self.squared, self.pixels = 0.0, 0

    def add(self, frame: DecodedFrame) -> None:
        """Compare one more frame."""
        self.errors.add(frame.reference_m, frame.decoded_m)
        self._add_picture_error(frame)
        self.frames += 1
        self.seconds += frame.seconds
        if self.directions is not None:
            reference = frame_points(frame.reference_m, frame.source, self.directions)
            restored = frame_points(frame.reconstruction_m, frame.source, self.directions)
            self.chamfer.append(chamfer_distance(reference, restored, self.window_m))

    def _add_picture_error(self, frame: DecodedFrame) -> None:
        near, far = self.options.format.min_range_m, self.options.format.max_range_m
        difference = (np.clip(frame.reference_m, near, far) - frame.decoded_m).astype(np.float64) / (far - near)
        self.squared += float((difference**2).sum())
        self.pixels += difference.size

    def merge(self, other: ClipScore) -> None:
        """Add what was measured on another clip."""
        self.errors.merge(other.errors)
        self.chamfer += other.chamfer
        self.frames += other.frames
        self.seconds += other.seconds
        self.squared += other.squared
        self.pixels += other.pixels

    def psnr_db(self) -> float:
        """Return the peak signal-to-noise ratio of the range images; infinite when nothing differs."""
        if not self.pixels:
            return math.nan
        return 10.0 * math.log10(self.pixels / self.squared) if self.squared else math.inf

    def to_dict(self) -> dict[str, Any]:
        """Return all metrics as plain values at full precision; a number that does not exist is None."""
        psnr = self.psnr_db()
        return {
            "frames": self.frames,
            **self.errors.result().to_dict(),
            "chamfer": chamfer_statistics(self.chamfer) if self.directions is not None else None,
            "psnr_db": psnr if math.isfinite(psnr) else None,
            "encode_decode_seconds": self.seconds,
        }


def chamfer_statistics(frames: list[Chamfer]) -> dict[str, Any]:
    """Return mean, median and best of the distances of frames; frames without points are counted, not averaged."""
    whole = [frame for frame in frames if math.isfinite(frame.chamfer_m)]
    if not whole:
        return {"frames": 0, "frames_without_points": len(frames), "mean_m": None}
    distances = np.array([frame.chamfer_m for frame in whole])
    return {
        "frames": len(whole),
        "frames_without_points": len(frames) - len(whole),
        "mean_m": float(distances.mean()),
        "median_m": float(np.median(distances)),
        "best_m": float(distances.min()),
        "forward_mean_m": float(np.mean([frame.forward_m for frame in whole])),
        "backward_mean_m": float(np.mean([frame.backward_m for frame in whole])),
        "squared_mean_m2": float(np.mean([frame.chamfer_squared_m2 for frame in whole])),
    }


def describe_protocol(
    sensor: Sensor,
    options: AutoencodeOptions,
    dtype: str,
    max_frames: int,
    chamfer_window_m: tuple[float, float] = (5.0, 65.0),
) -> dict[str, Any]:
    """Return everything that the numbers depend on besides network and data, with a hash of it.

    Two results may be compared when their hashes are equal.
    """
    image = {key: value for key, value in asdict(options).items() if key not in ("batch_size", "format")}
    document: dict[str, Any] = {
        "sensor": {"name": sensor.name, "shape": list(sensor.shape)},
        "picture": {
            "merge_columns": options.format.pair_columns,
            "repeat_rows": options.format.repeat_rows,
            **image,
        },
        "tokenizer_dtype": dtype,
        "max_frames": max_frames,
        "metrics": asdict(options.range_protocol()),
        "formulas": FORMULAS,
        "chamfer": {"window_m": list(chamfer_window_m), "definition": DEFINITION},
    }
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    return {"hash": digest.hexdigest()[:12], **document}
