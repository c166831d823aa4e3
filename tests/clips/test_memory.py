"""Memory while a sweep is read: the peak of all arrays and buffers, over the arrays that come back.

Allocations of numpy and Python are counted, as tracemalloc sees them; those of libraries in C are in
``benchmarks/clips.py``.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cosmos_lidar.clips.readers.ddad import _Clouds
from cosmos_lidar.clips.readers.folder.sweeps import CloudFiles
from tests.clips.point_formats.encoders import table, write_pcd, write_ply

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
    read()  # modules and caches
    tracemalloc.start()
    try:
        found = read()
        return tracemalloc.get_traced_memory()[1] / sum(array.nbytes for array in arrays_of(found))
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
    "a.laz": write_las,
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
