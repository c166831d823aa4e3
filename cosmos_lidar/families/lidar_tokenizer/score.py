"""Everything that is measured about the reconstruction of a clip, and the protocol that is written beside it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from cosmos_lidar.families.lidar_tokenizer.autoencode import AutoencodeOptions, DecodedFrame, frame_points
from cosmos_lidar.metrics import Scores, find_metrics
from cosmos_lidar.metrics.lidar import RangeErrors
from cosmos_lidar.metrics.pairs import RangePair
from cosmos_lidar.metrics.range_errors import FORMULAS, RangeErrorSums
from cosmos_lidar.sensors import Sensor

# The metrics that ``protocol.hash`` covers. Others have a hash of their own beside it: a metric that is added leaves
# results comparable that were measured before.
_HASHED = ("chamfer", "range_errors", "range_psnr")


class ClipScore:
    """Metrics of one clip, fed frame by frame: those of ``cosmos_lidar/metrics`` that ``evaluate`` shows.

    Args:
        options: how the frames were made.
        directions: (rows, columns of the full map, 3) rays; None to leave out point clouds and Chamfer distances.
    """

    def __init__(self, options: AutoencodeOptions, directions: np.ndarray | None) -> None:
        self.options, self.directions = options, directions
        self.scores = Scores("evaluate", "ranges", options.range_protocol(), points=directions is not None)
        self.frames, self.seconds = 0, 0.0

    def add(self, frame: DecodedFrame) -> None:
        """Compare one more frame."""
        points = None if self.directions is None else partial(_points, frame, self.directions)
        self.scores.add(RangePair(frame.reference_m, frame.decoded_m, points=points))
        self.frames += 1
        self.seconds += frame.seconds

    def merge(self, other: ClipScore) -> None:
        """Add what was measured on another clip."""
        self.scores.merge(other.scores)
        self.frames += other.frames
        self.seconds += other.seconds

    @property
    def errors(self) -> RangeErrors:
        """Range errors, for histograms and intervals."""
        sums = self.scores.accumulators["range_errors"]
        assert isinstance(sums, RangeErrorSums)
        return sums.errors

    def columns(self) -> dict[str, float]:
        """Return the numbers of a table by column; NaN where there is no value."""
        return self.scores.result()

    def to_dict(self) -> dict[str, Any]:
        """Return all metrics as plain values at full precision; a number that does not exist is None."""
        return {"frames": self.frames, **self.scores.document(), "encode_decode_seconds": self.seconds}


def _points(frame: DecodedFrame, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the recorded and the reconstructed points of a frame."""
    recorded, made = (frame_points(x, frame.source, directions) for x in (frame.reference_m, frame.reconstruction_m))
    return recorded, made


def describe_protocol(sensor: Sensor, options: AutoencodeOptions, dtype: str, max_frames: int) -> dict[str, Any]:
    """Return everything that the numbers depend on besides network and data, with a hash of it.

    Two results may be compared when their hashes are equal. Metrics that are not part of it have theirs in ``others``.
    """
    image = {key: value for key, value in asdict(options).items() if key not in ("batch_size", "format")}
    metrics = find_metrics("evaluate", "ranges")
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
        "formulas": {**FORMULAS, "psnr_db": metrics["range_psnr"].definition},
        "chamfer": {**metrics["chamfer"].settings, "definition": metrics["chamfer"].definition},
    }
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:12]
    others = {
        name: {"hash": protocol.hash, **protocol.to_dict()}
        for name, protocol in ((name, metric.protocol(name)) for name, metric in metrics.items())
        if name not in _HASHED
    }
    return {"hash": digest, **document, **({"others": others} if others else {})}
