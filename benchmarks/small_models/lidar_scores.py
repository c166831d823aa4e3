"""Scores of lidar tokenizers on held-out synthetic drives and recordings: ranges, returns, point clouds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import nn

from cosmos_lidar.clips import Clip
from cosmos_lidar.demo.recordings import small_images
from cosmos_lidar.families.lidar_tokenizer.autoencode import (
    AutoencodeOptions,
    DecodedFrame,
    autoencode_clip,
    frame_points,
    full_directions,
)
from cosmos_lidar.families.lidar_tokenizer.evaluate import Resize
from cosmos_lidar.families.lidar_tokenizer.score import ClipScore
from cosmos_lidar.metrics.chamfer import chamfer_distance
from cosmos_lidar.metrics.ray_drop import ray_drop_counts, ray_drop_scores
from cosmos_lidar.sensors import load_sensor
from cosmos_lidar.synth import synthesize_drive

AVERAGES = "8 x 8 averages"
COLUMNS = {
    "RMSE m": 3, "MAE m": 3, "relative": 4, "PSNR dB": 2, "Chamfer m": 3, "Chamfer m, recorded returns": 3,
    "precision of returns": 4, "recall of returns": 4,
}  # fmt: skip
_WINDOW_M = (1.0, 100.0)


@dataclass
class Row:
    """A row of a table: what was scored, and its numbers by column."""

    data: str
    name: str
    values: dict[str, float] = field(default_factory=dict)


def synthetic_clips(seeds: Sequence[int], frames: int = 2) -> list[Clip]:
    """Return drives of the demo's sensor."""
    sensor = small_images(load_sensor("uniform64"))
    return [synthesize_drive(seed, sensor, frames) for seed in seeds]


def score_drives(networks: Mapping[str, nn.Module], seeds: Sequence[int]) -> list[Row]:
    """Return the scores of tokenizers, and of averages of 8 x 8 pixels, on synthetic drives."""
    return score_clips(f"{len(seeds)} synthetic drives", networks, synthetic_clips(seeds))


def score_clips(
    data: str, networks: Mapping[str, nn.Module], clips: Sequence[Clip], max_error_m: float | None = None
) -> list[Row]:
    """Return the scores of tokenizers, and of averages of 8 x 8 pixels, on clips of one sensor.

    Args:
        data: name of the clips.
        networks: by name.
        clips: in the format of images that they are to have.
        max_error_m: also score networks with an expected error without the pixels above it.
    """
    options = AutoencodeOptions(format=clips[0].sensor.format, mask="decoded")
    rows = []
    for name, network in {**networks, AVERAGES: Resize()}.items():
        rows.append(score(data, name, network, clips, options))
        if max_error_m is not None and getattr(getattr(network, "config", None), "scale", False):
            cut = replace(options, max_error_m=max_error_m)
            rows.append(score(data, f"{name}, expected error up to {max_error_m:g} m", network, clips, cut))
    return rows


def score(data: str, name: str, network: nn.Module, clips: Sequence[Clip], options: AutoencodeOptions) -> Row:
    """Return the scores of one tokenizer; returns are those that it decodes, but in the column that names others."""
    directions = full_directions(clips[0].sensor, options)
    measured, counts, recorded_returns = ClipScore(options, directions), np.zeros(3), []
    for frame in frames_of(network, clips, options):
        measured.add(frame)
        counts += ray_drop_counts(frame.valid_m, frame.reconstruction_m)
        points = partial(frame_points, source=frame.source, directions=directions)
        given = np.where(frame.valid_m > 0, frame.decoded_m, np.float32(0))
        recorded_returns.append(chamfer_distance(points(frame.reference_m), points(given), _WINDOW_M).chamfer_m)
    found, drop = measured.columns(), ray_drop_scores(counts)
    values = (found["rmse_m"], found["mae_m"], found["relative"], found["psnr_db"], found["chamfer_mean_m"],
              float(np.mean(recorded_returns)), drop.precision, drop.recall)  # fmt: skip
    return Row(data, name, dict(zip(COLUMNS, values, strict=True)))


def frames_of(network: nn.Module, clips: Sequence[Clip], options: AutoencodeOptions) -> Iterator[DecodedFrame]:
    """Yield the frames of all clips through a tokenizer."""
    for clip in clips:
        yield from autoencode_clip(network, clip, options)


def calibration(network: nn.Module, clips: Sequence[Clip], bins: int = 10) -> list[tuple[float, float]]:
    """Return mean expected and mean measured absolute error, meters, of equal shares of pixels by expected error."""
    options = AutoencodeOptions(format=clips[0].sensor.format)
    expected, measured = [], []
    with torch.inference_mode():
        for frame in frames_of(network, clips, options):
            if frame.expected_error_m is None:
                raise ValueError("a tokenizer without an expected error")
            valid = frame.valid_m > 0
            expected.append(frame.expected_error_m[valid])
            measured.append(np.abs(frame.decoded_m - frame.valid_m)[valid])
    order = np.argsort(np.concatenate(expected))
    shares = np.array_split(order, bins)
    predicted, errors = np.concatenate(expected), np.concatenate(measured)
    return [(float(predicted[share].mean()), float(errors[share].mean())) for share in shares]


def table(rows: Sequence[Row]) -> str:
    """Return rows as Markdown."""
    lines = [f"| data | tokenizer | {' | '.join(COLUMNS)} |", "|---|---|" + "--:|" * len(COLUMNS)]
    for row in rows:
        cells = " | ".join(f"{row.values[name]:.{digits}f}" for name, digits in COLUMNS.items())
        lines.append(f"| {row.data} | {row.name} | {cells} |")
    return "\n".join(lines) + "\n"
