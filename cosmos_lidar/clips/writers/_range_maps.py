"""Sweeps of any kind as range images, for layouts that hold nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cosmos_lidar.clips.clip import LidarStream
from cosmos_lidar.clips.sweep import RETURN_VALUES, Sweep
from cosmos_lidar.clips.writers._contract import Losses


def as_range_image(lidar: LidarStream, index: int, losses: Losses) -> Sweep:
    """Return a sweep as a range image with its values; of points those that are nearest in their pixel.

    Points that were compensated for motion are moved to where the lidar saw them. Rings that are the rows are left out.

    Args:
        lidar: of the sweep.
        index: of the sweep.
        losses: notes what the sweep has and the layout lacks.

    Raises:
        DataError: the sweep cannot be read.
    """
    sweep = losses.see(_without_rows(lidar.read(index)))
    if sweep.range_m is not None:
        return sweep
    if sweep.returns is not None and (sweep.returns > 1).any():
        losses.add("returns", "second returns of points are left out")
    projection = lidar.project(sweep, index)
    chosen = np.asarray(projection.point_index)
    seen = chosen >= 0
    values: dict[str, Any] = {}
    for name in RETURN_VALUES:
        held = getattr(sweep, name)
        if held is not None:
            values[name] = np.zeros(lidar.sensor.shape, held.dtype)
            values[name][seen] = held[chosen[seen]]
    return _without_rows(Sweep(range_m=np.asarray(projection.range_m), **values))


def _without_rows(sweep: Sweep) -> Sweep:
    """Return a range image without rings that are its rows, as those of most layouts are."""
    if sweep.range_m is None or sweep.ring is None:
        return sweep
    rows, seen = np.arange(len(sweep.range_m))[:, None], sweep.range_m > 0
    return replace(sweep, ring=None) if ((sweep.ring == rows) | ~seen).all() else sweep
