from __future__ import annotations

import struct

import numpy as np
import pytest

from cosmos_lidar.clips.point_fields import to_sweep
from cosmos_lidar.clips.point_formats.las import origin, read
from cosmos_lidar.errors import DataError

pytest.importorskip("laspy")


def test_packed_and_unpacked_are_the_same_cloud(test_data):
    one, other = (read(test_data / "las" / f"simple.{ending}") for ending in ("las", "laz"))
    assert len(one) == 1065
    assert list(one.columns) == ["x", "y", "z", "intensity", "classification", "return_number", "gps_time_s"]
    assert all(np.array_equal(one.columns[name], other.columns[name]) for name in one.columns)


@pytest.mark.parametrize("name", ["simple.laz", "vegetation_1_3.las", "test1_4.las"])
def test_coordinates_of_a_map_keep_their_precision(test_data, name):
    file = test_data / "las" / name
    fields, place = read(file), origin(file)
    sweep = to_sweep(fields, np.array([0, 100_000]), origin_m=place, file=file)
    exact = np.stack([fields.columns[axis] for axis in "xyz"], 1)
    assert np.abs(exact - (sweep.points.astype(np.float64) + place)).max() < 5e-4
    assert np.abs(exact).max() > 1e4
    assert sweep.points.min() >= 0
    assert {"intensity", "labels", "returns"} <= set(sweep.held)
    assert sweep.returns.min() == 1


def test_small_coordinates_stay(test_data):
    file = test_data / "las" / "unregistered_extra_bytes.las"
    assert origin(file) is None
    assert read(file).columns["x"].tolist() == [1, 2, 3, 4]


def test_extra_dimensions_are_fields(test_data):
    assert {"Intensity", "Time", "intensity"} <= set(read(test_data / "las" / "extrabytes.las").columns)


@pytest.mark.parametrize("name", ["simple.las", "simple.laz", "test1_4.las"])
def test_truncated_files_are_refused(test_data, tmp_path, name):
    content = (test_data / "las" / name).read_bytes()
    for length in (0, 3, 100, 230, 400, len(content) // 2):
        (tmp_path / name).write_bytes(content[:length])
        with pytest.raises(DataError, match=f"{name}, clip c"):
            read(tmp_path / name, "c")


@pytest.mark.parametrize(
    ("name", "at", "value", "key"),
    [
        ("simple.las", 24, b"\x02\x00", "version"),
        ("simple.las", 0, b"LAZF", "signature"),
        ("simple.las", 107, struct.pack("<I", 0xFFFFFFFF), "number of points"),
        ("simple.laz", 107, struct.pack("<I", 0xFFFFFFFF), "number of points"),
        ("simple.las", 100, struct.pack("<I", 0xFFFFFFFF), "variable length records"),
        ("test1_4.las", 243, struct.pack("<I", 0xFFFFFFFF), "extended variable length records"),
        ("test1_4.las", 247, struct.pack("<Q", 1 << 60), "number of points"),
        ("simple.las", 179, struct.pack("<d", float("nan")), "bounds"),
    ],
)
def test_hostile_headers_are_refused(test_data, tmp_path, name, at, value, key):
    content = bytearray((test_data / "las" / name).read_bytes())
    content[at : at + len(value)] = value
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"key {key}"):
        read(tmp_path / name)
