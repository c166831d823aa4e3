"""A PandaSet sequence: tables of points in world axes, as pickles of data frames packed by gzip."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from cosmos_lidar.clips import Clip
from recordings.street import Read, Street
from tests.clips.pickled_frames import dumps, old_frame
from tests.clips.readers.test_pandaset import FRAMES, START_US, lidar_pose, pack, write_sample


def write(root: Path, street: Street) -> Path:
    """Write the three sweeps of a sequence with a class for every point."""
    path = write_sample(root)
    clouds = street.clouds(street.sensor("pandar64"))
    for index in range(FRAMES):
        cloud = clouds[index % len(clouds)]
        pose = lidar_pose(0.1 * index)
        x, y, z = (cloud.points @ pose[:3, :3].T + pose[:3, 3]).T
        times = START_US / 1e6 + 0.1 * index + cloud.time_us / 1e6
        table = {"x": x, "y": y, "z": z, "i": np.rint(cloud.intensity * 255.0), "t": times,
                 "d": np.zeros(len(x), int)}  # fmt: skip
        pack(path / "001" / "lidar" / f"{index:02d}.pkl.gz", dumps(old_frame(table)))
        classes = dumps(old_frame({"class": cloud.labels.astype(np.int64)}))
        pack(path / "001" / "annotations" / "semseg" / f"{index:02d}.pkl.gz", classes)
    return path


def reads(clip: Clip) -> list[Read]:
    """Return the sweeps of the Pandar64, beside gzip on table and classes."""
    folder, lidar = clip.source, clip.lidar
    names = [f"{index:02d}.pkl.gz" for index in range(len(lidar))]
    packed = [[(folder / part / name).read_bytes() for part in ("lidar", "annotations/semseg")] for name in names]
    return [
        Read(lidar.name, lidar.read, len(lidar), lambda index: [gzip.decompress(one) for one in packed[index]], "gzip")
    ]
