"""Memory while a sweep is read: the peak of all arrays and buffers, over the arrays that come back.

Allocations of numpy and Python are counted, as tracemalloc sees them; those of libraries in C are in
``benchmarks/clips.py``.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.convert import find_writers
from cosmos_lidar.clips.files import PointSweeps
from cosmos_lidar.clips.readers.ddad import _Clouds
from cosmos_lidar.clips.readers.folder.sweeps import CloudFiles
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.clips.writers._contract import WriteOptions
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.synth import synthesize_drive
from tests.clips.point_formats.encoders import table, write_pcd, write_ply
from tests.clips.readers.rosbag.bags import LIDAR, START_NS, STEP_NS, Types, write_bag

LIMIT = 1.5
COUNT = 100_000
TIMES = np.array([[0, 100_000]])


def arrays_of(found: Any) -> list[np.ndarray]:
    if isinstance(found, np.ndarray):
        return [found]
    own = [getattr(found, name) for name in found.held if name != "second_return"]
    return own + ([] if found.second_return is None else arrays_of(found.second_return))


def peak_over_size(read: Callable[[], Any]) -> float:
    """Return the peak of what is allocated during a read, over the arrays of the sweep or image."""
    found = read()  # modules and caches
    return peak_of(read) / size_of(found)


def size_of(found: Any) -> int:
    return sum(array.nbytes for array in arrays_of(found))


def peak_of(work: Callable[[], Any]) -> int:
    tracemalloc.start()
    try:
        kept = work()
        peak = tracemalloc.get_traced_memory()[1]
        del kept
        return peak
    finally:
        tracemalloc.stop()


def xyzi(cloud: np.ndarray) -> np.ndarray:
    return np.stack([cloud[name] for name in ("x", "y", "z", "intensity")], 1)


def write_las(path: Path, cloud: np.ndarray) -> None:
    laspy = pytest.importorskip("laspy")
    made = laspy.LasData(laspy.LasHeader(point_format=6, version="1.4"))
    made.x, made.y, made.z = (cloud[axis].astype(np.float64) for axis in "xyz")
    made.intensity, made.gps_time = cloud["intensity"].astype(np.uint16), cloud["t"] * 1e-6
    made.write(path)


WRITE: dict[str, Callable[[Path, np.ndarray], Any]] = {
    "a.pcd": write_pcd,
    "compressed.pcd": lambda path, cloud: write_pcd(path, cloud[:16_000], "binary_compressed"),
    "ascii.pcd": lambda path, cloud: write_pcd(path, cloud[:30_000], "ascii"),
    "a.ply": write_ply,
    "big.ply": lambda path, cloud: write_ply(path, cloud, "binary_big_endian"),
    "ascii.ply": lambda path, cloud: write_ply(path, cloud[:30_000], "ascii"),
    "a.npy": lambda path, cloud: np.save(path, xyzi(cloud)),
    "a.npz": lambda path, cloud: np.savez(path, points=xyzi(cloud)[:, :3], **{n: cloud[n] for n in ("ring", "t")}),
    "a.las": write_las,
}


@pytest.mark.parametrize("name", WRITE)
def test_clouds(name, tmp_path):
    WRITE[name](tmp_path / name, table(COUNT))
    read = CloudFiles("c", (tmp_path / name,), TIMES)
    assert peak_over_size(lambda: read(0)) < LIMIT


def test_ddad(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", data=xyzi(table(COUNT)).astype(np.float64))
    read = _Clouds("c", (tmp_path / "a.npz",), ("X", "Y", "Z", "INTENSITY"), 2.0)
    assert peak_over_size(lambda: read(0)) < LIMIT


@dataclass(frozen=True)
class Kept:
    """``read`` of a lidar whose sweeps are in memory."""

    sweep: Sweep

    def __call__(self, index: int) -> Sweep:
        return self.sweep


def range_images(rows: int, columns: int) -> Sweep:
    generator = np.random.default_rng(0)
    shape = (rows, columns)
    range_m = generator.uniform(1, 100, shape).astype(np.float32)
    range_m[generator.random(shape) < 0.17] = 0
    times = np.broadcast_to(np.arange(columns, dtype=np.int32) * 100_000 // columns, shape).astype(np.int32)
    return Sweep(range_m, intensity=np.ones(shape, np.float32), labels=np.ones(shape, np.uint16),
                 instance=np.ones(shape, np.uint32), time_us=times)  # fmt: skip


@pytest.mark.parametrize("name", ["ply", "pcd", "npz", "kitti", "semantickitti", "release", "exr"])
def test_writers(name, tmp_path):
    if name == "exr":
        pytest.importorskip("OpenEXR")
    sensor = uniform_sensor(128, 1800)
    drive = synthesize_drive(1, uniform_sensor(4, 16), 3).with_lidar(sensor=sensor, read=Kept(range_images(128, 1800)))
    write = partial(find_writers()[name].write_clip, drive, options=WriteOptions(), progress=lambda count: None)
    write(folder=tmp_path / "first")
    assert peak_of(lambda: write(folder=tmp_path / "second")) < LIMIT * size_of(drive.lidar.read(0))


def test_release(tmp_path):
    drive = synthesize_drive(1, uniform_sensor(4, 16), 3)
    drive = drive.with_lidar(sensor=uniform_sensor(128, 900), read=Kept(range_images(128, 900)))
    find_writers()["release"].begin([drive], tmp_path)
    find_writers()["release"].write_clip(drive, tmp_path, WriteOptions(), lambda count: None)
    (clip,) = open_clips(tmp_path, "release")
    assert peak_over_size(lambda: clip.lidar.read(1)) < LIMIT


@pytest.mark.parametrize("kind", ["mcap", "sqlite3", "ros1"])
def test_bags(kind, tmp_path):
    pytest.importorskip("rosbags")
    types, name = Types(kind.startswith("ros1")), "sensor_msgs/msg/PointCloud2"
    times = [START_NS, START_NS + STEP_NS]
    records = [(LIDAR, name, time_ns, types.cloud(time_ns, table(COUNT))) for time_ns in times]
    write_bag(tmp_path / "bag", records, types, kind)
    (clip,) = open_clips(tmp_path, "rosbag")
    assert len(clip.lidar.read(1).points) == COUNT
    assert peak_over_size(lambda: clip.lidar.read(1)) < LIMIT


@pytest.mark.parametrize(("columns", "ring"), [(4, None), (5, 4)])
def test_headerless_files(columns, ring, tmp_path):
    points = np.column_stack([xyzi(table(COUNT)), table(COUNT)["ring"]])[:, :columns]
    points.astype("<f4").tofile(tmp_path / "a.bin")
    read = PointSweeps("c", (tmp_path / "a.bin",), columns, ring_column=ring)
    assert peak_over_size(lambda: read(0)) < LIMIT
