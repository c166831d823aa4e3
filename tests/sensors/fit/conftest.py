"""Sweeps of known lidars in random scenes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cosmos_lidar.clips import Sweep
from cosmos_lidar.sensors import Sensor, ray_directions, uniform_sensor

SPIN_US = 100_000


def small_lidar(clockwise: bool = True) -> Sensor:
    """Return a lidar of uneven beams with azimuth offsets of several columns."""
    elevations = np.radians([12.0, 8.0, 5.0, 3.0, 2.0, 1.4, 0.7, 0.1, -0.6, -1.5, -2.6, -4.0, -6.0, -9.0, -14.0, -20.0])
    offsets = np.radians(np.tile([-1.4, 0.03, 1.37, 4.21], 4))
    base = uniform_sensor(16, 720)
    return replace(
        base, row_elevations_rad=elevations, row_azimuth_offsets_rad=offsets, clockwise=clockwise, max_range_m=200.0
    )


def measure(
    directions: np.ndarray, mode: str, seed: int = 0, lost: float = 0.1, noise_m: float = 0.015, noise_deg: float = 0.0
) -> Sweep:
    """Return a sweep of a lidar at 2 m height between walls at random distances.

    Args:
        directions: (rows, columns, 3) unit vectors, in the order of firing along columns.
        mode: what the recording has: "shuffled", "ring" and "time" in random order, with what they name ("time" has
            rings, too); "rows" beam after beam; "firing" column after column.
        seed: of the scene and the noise.
        lost: share of pulses without return.
        noise_m: of ranges.
        noise_deg: of directions.
    """
    rng = np.random.default_rng(seed)
    x, y, z = np.moveaxis(directions, -1, 0)
    walls = rng.uniform(8.0, 90.0, 60)[((np.arctan2(y, x) / (2 * np.pi)) % 1.0 * 60).astype(int)]
    range_m = np.minimum(walls / np.hypot(x, y), np.where(z < 0, 2.0 / np.maximum(-z, 1e-3), np.inf))
    seen = (rng.random(range_m.shape) > lost) & (range_m < 180.0)
    range_m = range_m + rng.normal(0.0, noise_m, range_m.shape)
    points = directions + np.radians(noise_deg) * rng.normal(size=directions.shape)
    points = (points * range_m[..., None])[seen].astype(np.float32)
    row, column = np.nonzero(seen)
    time_us = ((column + 0.5) / directions.shape[1] * SPIN_US).astype(np.int32)
    if mode == "rows":
        return Sweep(points=points)
    if mode == "firing":
        return Sweep(points=points[np.lexsort((row, column))])
    order = rng.permutation(len(points))
    return Sweep(
        points=points[order],
        ring=None if mode == "shuffled" else row[order].astype(np.uint16),
        time_us=time_us[order] if mode == "time" else None,
    )


def measured(sensor: Sensor, mode: str, seed: int = 0, **noise: float) -> Sweep:
    """Return a sweep of a sensor, see :func:`measure`."""
    return measure(ray_directions(sensor), mode, seed, **noise)


def offsets_apart(found: np.ndarray, true: np.ndarray, period: float | None = None) -> np.ndarray:
    """Return (rows,) degrees between azimuth offsets, up to a common one; up to whole columns where they are given."""
    apart = found - true
    if period is not None:
        apart = apart - apart[0]
        apart = apart - period * np.round(apart / period)
    return np.degrees(apart - np.median(apart))
