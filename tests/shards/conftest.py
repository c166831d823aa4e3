from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips.clip import Clip, Sweep, one_lidar_clip
from cosmos_lidar.sensors.sensor import Sensor, uniform_sensor

SENSOR = uniform_sensor(8, 32)


def tiny_sweep(seed: int, sensor: Sensor = SENSOR) -> Sweep:
    range_m = np.random.default_rng(seed).uniform(1, 120, sensor.shape).astype(np.float32)
    range_m[range_m > 100] = 0
    return Sweep(range_m=range_m, intensity=range_m / 200, labels=(range_m > 50).astype(np.uint16))


def tiny_clip(name: str, frames: int, sensor: Sensor = SENSOR, read: Callable[[int], Sweep] | None = None) -> Clip:
    seed = sum(name.encode()) * 1000
    times = np.arange(frames)[:, None] * 100_000 + np.array([0, 100_000])
    return one_lidar_clip(
        name,
        sensor,
        tuple(f"{number:06d}" for number in range(frames)),
        times,
        read or (lambda number: tiny_sweep(seed + number, sensor)),
        Path("recordings") / name,
        "test",
        world_SE3_lidar=np.tile(np.eye(4), (frames, 2, 1, 1)),
    )


@pytest.fixture
def clips() -> list[Clip]:
    """Six clips of 23 frames; 12 samples of 7 or 8 frames with the default length."""
    return [tiny_clip(f"drive{number}", 23) for number in range(6)]
