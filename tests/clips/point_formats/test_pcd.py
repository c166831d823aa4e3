from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips.point_formats.pcd import read
from cosmos_lidar.errors import DataError
from tests.clips.point_formats.encoders import pcd_header, table, write_pcd


@pytest.mark.parametrize("data", ["ascii", "binary", "binary_compressed"])
@pytest.mark.parametrize("shape", [(500,), (20, 25)])
def test_fields_come_back_exactly(data, shape, tmp_path):
    cloud = table().reshape(shape)
    fields = read(write_pcd(tmp_path / "a.pcd", cloud, data))
    assert fields.shape == (shape if len(shape) == 2 else None)
    for name in cloud.dtype.names:
        assert np.array_equal(fields.columns[name], cloud[name].reshape(-1)), name
        assert fields.columns[name].dtype == cloud.dtype[name]


@pytest.mark.parametrize("data", ["ascii", "binary", "binary_compressed"])
def test_fields_of_several_values_padding_and_stamps_of_eight_bytes(data, tmp_path):
    dtype = [("x", "<f8"), ("_", "<u1"), ("y", "<f4"), ("z", "<f4"), ("normal", "<f4", (3,)), ("stamp", "<u8")]
    cloud = np.zeros(7, dtype)
    cloud["x"], cloud["normal"] = np.arange(7), np.arange(21).reshape(7, 3)
    cloud["stamp"] = 1_700_000_000_123_456_789
    path = write_pcd(tmp_path / "a.pcd", cloud, data)
    if data == "ascii":
        path.write_bytes(path.read_bytes().replace(b"1.70000000e+18", b"1700000000123456789"))
        path.write_bytes(path.read_bytes().replace(b"1.70000000012345677e+18", b"1700000000123456789"))
        path.write_bytes(path.read_bytes().replace(b"1.7e+18", b"1700000000123456789"))
    fields = read(path)
    assert list(fields.columns) == ["x", "y", "z", "normal", "stamp"]
    assert np.array_equal(fields.columns["normal"], cloud["normal"])
    assert fields.columns["stamp"].tolist() == [1_700_000_000_123_456_789] * 7


def test_published_files_agree_with_each_other(test_data):
    names = ("ascii", "binary", "binary_compressed")
    ascii, binary, packed = (read(test_data / "pcd" / f"{name}.pcd") for name in names)
    for name in ("x", "y", "z"):
        assert len(binary.columns[name]) == 213
        assert np.array_equal(binary.columns[name], packed.columns[name])
        assert np.allclose(ascii.columns[name], binary.columns[name], rtol=1e-4)
    organized = read(test_data / "pcd" / "ascii_organized.pcd")
    assert organized.shape == (2, 4)
    assert np.allclose(organized.columns["intensity"], np.arange(1, 9) / 10)
    assert read(test_data / "pcd" / "ascii_multi_count.pcd").columns["intensity"].shape == (8, 4)
    assert len(read(test_data / "pcd" / "ascii_with_empty_points.pcd")) == 0


@pytest.mark.parametrize(("name", "key"), [("ascii_empty", "DATA"), ("ascii_invalid_header", "DATA")])
def test_published_broken_files_are_refused(test_data, name, key):
    with pytest.raises(DataError, match=f"{name}.pcd, clip c, key {key}"):
        read(test_data / "pcd" / f"{name}.pcd", "c")


@pytest.mark.parametrize("data", ["ascii", "binary", "binary_compressed"])
def test_truncated_files_are_refused(data, tmp_path):
    path = write_pcd(tmp_path / "a.pcd", table(), data)
    content = path.read_bytes()
    for length in (0, 5, 100, len(content) // 2, len(content) - 12):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"a\.pcd"):
            read(path)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"VERSION": "0.8"}, "VERSION"),
        ({"POINTS": "499"}, "POINTS"),
        ({"WIDTH": "-5"}, "WIDTH"),
        ({"WIDTH": "9" * 30}, "WIDTH"),
        ({"WIDTH": "99999999999", "POINTS": "99999999999"}, "POINTS"),
        ({"TYPE": "F F F F U X"}, "TYPE"),
        ({"SIZE": "4 4 4 4 2 3"}, "TYPE"),
        ({"SIZE": "4 4 4"}, "SIZE"),
        ({"COUNT": "1 1 1 1 1 0"}, "COUNT"),
        ({"COUNT": "1 1 1 1 1 99999999"}, "COUNT"),
        ({"FIELDS": "x y z x y z"}, "FIELDS"),
        ({"FIELDS": ""}, "FIELDS"),
        ({"DATA": "zip"}, "DATA"),
    ],
)
@pytest.mark.parametrize("data", ["ascii", "binary", "binary_compressed"])
def test_headers_that_cannot_be_are_refused(changes, key, data, tmp_path):
    path = write_pcd(tmp_path / "a.pcd", table(), data, **changes)
    with pytest.raises(DataError, match=f"key {key}"):
        read(path)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"\x01\x00", "2 of 8 bytes"),
        (b"\x05\x00\x00\x00\xff\xff\xff\xff12345", "bytes unpacked"),
        (b"\x05\x00\x00\x00\x10\x27\x00\x0012345", "LZF does not unpack"),
    ],
)
def test_broken_packed_data_are_refused(body, problem, tmp_path):
    cloud = np.zeros(500, [(name, "<f4") for name in ("x", "y", "z", "intensity", "t")])
    (tmp_path / "a.pcd").write_bytes(pcd_header(cloud, "binary_compressed") + body)
    with pytest.raises(DataError, match=problem):
        read(tmp_path / "a.pcd")


def test_words_that_are_no_numbers_are_refused(tmp_path):
    path = write_pcd(tmp_path / "a.pcd", table(3), "ascii")
    lines = path.read_text().split("\n")
    lines[-2] = "1 2 3 4 5 6.5"
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"no uint32: .*key field t"):
        read(path)


def test_the_older_header_without_width(tmp_path):
    (tmp_path / "a.pcd").write_text("COLUMNS x y z\nSIZE 4 4 4\nTYPE F F F\nPOINTS 2\nDATA ascii\n1 2 3\n4 nan 6\n")
    fields = read(tmp_path / "a.pcd")
    assert fields.columns["x"].tolist() == [1, 4]
    assert np.isnan(fields.columns["y"][1])
