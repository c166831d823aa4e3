"""Clips of labeled points whose values tell clip and sweep."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import Clip, Sweep, one_lidar_clip
from cosmos_lidar.sensors.sensor import uniform_sensor

SENSOR = uniform_sensor(4, 48, name="small")
START_US = 1_700_000_000_000_000


def points_of(name: str, number: int) -> np.ndarray:
    rng = np.random.default_rng([number, *name.encode()])
    return rng.uniform(-20, 20, (40 + 5 * number, 3)).astype(np.float32)


def poses(frames: int) -> np.ndarray:
    """Return (frames, 2, 4, 4): 1 m forward in each sweep."""
    found = np.tile(np.eye(4), (frames, 2, 1, 1))
    found[:, :, 0, 3] = np.arange(frames)[:, None] + np.array([0.0, 1.0])
    return found


def labeled_clip(name: str, frames: int = 3, **lidar: object) -> Clip:
    """Return a clip of points with intensities, times and labels; 300 is a label beyond a byte in odd sweeps."""

    def read(number: int) -> Sweep:
        points = points_of(name, number)
        labels = np.arange(len(points)) % 3 * (150 if number % 2 else 20)
        return Sweep(
            points=points,
            intensity=np.full(len(points), 0.25 * number, np.float32),
            labels=labels.astype(np.uint16),
            time_us=np.arange(len(points), dtype=np.int32),
        )

    times = START_US + np.arange(frames)[:, None] * 100_000 + np.array([0, 100_000])
    ids = tuple(f"frame{number}" for number in range(frames))
    clip = one_lidar_clip(name, SENSOR, ids, times, read, Path(name), "test", poses(frames))
    return clip.with_lidar(**lidar) if lidar else clip
