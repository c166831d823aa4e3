from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips.clip import Clip, Sweep, one_lidar_clip
from cosmos_lidar.sensors.sensor import RangeMapFormat, Sensor, uniform_sensor
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.prepare import prepare_shards

SENSOR = uniform_sensor(4, 48, format=RangeMapFormat(repeat_rows=2))


def tiny_map(name: str, number: int, sensor: Sensor = SENSOR) -> np.ndarray:
    """Ranges from below the image's nearest to beyond its farthest, and gaps."""
    rng = np.random.default_rng([number, *name.encode()])
    range_m = rng.uniform(1, 105, sensor.shape).astype(np.float32)
    range_m[rng.random(sensor.shape) < 0.3] = 0
    return range_m


def tiny_clip(name: str, frames: int = 20, sensor: Sensor = SENSOR) -> Clip:
    times = np.arange(frames)[:, None] * 100_000 + np.array([0, 100_000])
    ids = tuple(f"{number:06d}" for number in range(frames))
    return one_lidar_clip(
        name, sensor, ids, times, lambda n: Sweep(range_m=tiny_map(name, n, sensor)), Path(name), "test"
    )


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of 4 training clips and 1 for validation: 20 frames each, 2 samples of 10 frames per clip."""
    out = tmp_path_factory.mktemp("shards") / "out"
    clips = [tiny_clip(f"clip{number}") for number in range(5)]
    prepare_shards(clips, out, PrepareOptions(split=(4, 1), samples_per_shard=3))
    return out
