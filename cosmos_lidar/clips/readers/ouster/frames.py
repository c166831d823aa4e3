"""Frames of an Ouster sensor as sweeps: range images whose columns each look in one direction, with exact points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cosmos_lidar.clips.blocks import blocks
from cosmos_lidar.clips.readers.ouster.metadata import Geometry, geometry_of
from cosmos_lidar.clips.sweep import Sweep

_PIXELS = 1 << 13  # that become points at a time


@dataclass(frozen=True)
class RawFrame:
    """A frame as the sensor sends it: rows in its order, by measured column.

    Attributes:
        fields: (rows, columns) ``RANGE`` [mm] and what there is of ``REFLECTIVITY``, ``RANGE2``, ``REFLECTIVITY2``.
        times_ns: (columns,) uint64 time of each measured column; 0 where it was lost.
    """

    fields: dict[str, np.ndarray]
    times_ns: np.ndarray


@dataclass(frozen=True)
class FrameSpan:
    """Frame number and time, from the index of a recording.

    Attributes:
        number: the sensor's own.
        start_ns: time of the first column.
        end_ns: time of the last one, plus what a column takes.
        columns: how many were received.
    """

    number: int
    start_ns: int
    end_ns: int
    columns: int


@dataclass(frozen=True)
class FrameSweeps:
    """``read`` of a lidar: the frames of a recording.

    Attributes:
        metadata: json text of the sensor.
        starts_us: (N,) start of each frame.
        read_frame: frame number -> :class:`RawFrame`, picklable.
    """

    metadata: str
    starts_us: np.ndarray
    read_frame: Callable[[int], RawFrame]

    def __call__(self, index: int) -> Sweep:
        """Read frame ``index``.

        Raises:
            DataError: the recording cannot be read there.
        """
        return to_sweep(self.read_frame(index), geometry_of(self.metadata), int(self.starts_us[index]))


def to_sweep(frame: RawFrame, geometry: Geometry, start_us: int) -> Sweep:
    """Return the sweep of a frame: range images of one or two returns, points by the sensor's own formula.

    Args:
        frame: as the sensor sends it.
        geometry: of the sensor.
        start_us: of the sweep.
    """
    after_ns = np.where(frame.times_ns > 0, frame.times_ns.astype(np.int64) - start_us * 1000, 0)
    time_us = (after_ns // 1000).astype(np.int32)[geometry.measured]
    first = _one_return(frame, geometry, time_us, "")
    if "RANGE2" not in frame.fields:
        return first
    values = {name: getattr(first, name) for name in ("range_m", "points", "intensity", "time_us")}
    return Sweep(**values, second_return=_one_return(frame, geometry, time_us, "2"))


def _one_return(frame: RawFrame, geometry: Geometry, time_us: np.ndarray, number: str) -> Sweep:
    range_m = np.take(frame.fields[f"RANGE{number}"], geometry.source).astype(np.float32)
    range_m /= np.float32(1000)
    range_m[range_m > geometry.sensor.max_range_m] = 0.0
    points = _points(range_m, geometry)
    values: dict[str, Any] = {}
    if f"REFLECTIVITY{number}" in frame.fields:
        values["intensity"] = np.take(frame.fields[f"REFLECTIVITY{number}"], geometry.source).astype(np.float32)
    return Sweep(range_m=range_m, points=points, time_us=time_us, **values)


def _points(range_m: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return (N, 3) float32 points of the pixels with a return, computed in some rows at a time."""
    seen = range_m > 0
    counts = np.count_nonzero(seen, axis=1)
    points, filled = np.empty((int(counts.sum()), 3), np.float32), 0
    for part in blocks(len(range_m), max(1, _PIXELS // range_m.shape[1])):
        own = seen[part]
        place = slice(filled, filled + int(counts[part].sum()))
        np.multiply(geometry.directions[part][own], range_m[part][own][:, None], out=points[place])
        points[place] += geometry.offsets[part][own]
        filled = place.stop
    return points
