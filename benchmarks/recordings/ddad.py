"""A scene of DDAD: clouds of doubles in npz files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cosmos_lidar.clips import Clip
from recordings.street import Read, Street
from tests.clips.readers import test_ddad


def write(root: Path, street: Street) -> Path:
    """Write a scene of two samples."""
    scene = test_ddad.write_sample(root)
    clouds = sorted((scene / "point_cloud" / "LIDAR").iterdir())
    for file, table in zip(clouds, street.tables(street.sensor("kitti_hdl64e")), strict=False):
        np.savez(file, data=table.astype(np.float64))
    return scene


def reads(clip: Clip) -> list[Read]:
    """Return the sweeps, beside numpy's reading of the array."""
    lidar = clip.lidar

    def load(index: int) -> np.ndarray:
        return np.load(lidar.read.files[index])["data"]

    return [Read(lidar.name, lidar.read, len(lidar), load, "numpy")]
