"""Small labeled sweeps of two classes, and a configuration whose network has few weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml

from cosmos_lidar.clips.clip import Clip, Sweep, one_lidar_clip
from cosmos_lidar.families.also.semseg.config import SemsegDataConfig, SemsegModelConfig, SemsegTrainConfig
from cosmos_lidar.sensors.sensor import uniform_sensor

FLOOR, WALL = 40, 50  # numbers of the dataset
SENSOR = uniform_sensor(4, 48, name="small")


def write_label_map(folder: Path) -> Path:
    path = folder / "rooms.yaml"
    path.write_text(yaml.safe_dump({"classes": ["none", "floor", "wall"], "map": {0: 0, FLOOR: 1, WALL: 2}}))
    return path


def room(seed: int, size: int = 300) -> Sweep:
    """Return a sweep of a floor, and of a wall at x = 6 m; every tenth point has no label."""
    rng = np.random.default_rng(seed)
    points = rng.uniform((-8, -8, -1.7), (8, 8, -1.6), (2 * size, 3)).astype(np.float32)
    points[size:, 0], points[size:, 2] = 6.0, rng.uniform(-1.5, 3, size)
    labels = np.repeat(np.array([FLOOR, WALL], np.uint16), size)
    labels[::10] = 0
    return Sweep(points=points, intensity=rng.random(2 * size).astype(np.float32), labels=labels)


def room_clip(name: str, frames: int = 4) -> Clip:
    times = np.arange(frames)[:, None] * 100_000 + np.array([0, 100_000])
    ids = tuple(f"{number:06d}" for number in range(frames))
    start = sum(name.encode()) * 100
    return one_lidar_clip(name, SENSOR, ids, times, lambda number: room(start + number), Path(name), "test")


def small_run(label_map: Path, **model: object) -> SemsegTrainConfig:
    settings = {"backbone": "MinkUNet18", "width": 2, "inputs": ["pos", "intensities"], "voxel_size": 0.4} | model
    return SemsegTrainConfig(
        synthetic_drives=1,
        model=SemsegModelConfig(label_map=str(label_map), **settings),
        data=SemsegDataConfig(batch_size=2, workers=0, shuffle=4, points=0, decimation=0.2, epochs=0, val_interval=0),
    )
