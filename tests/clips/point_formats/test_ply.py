from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips.point_formats.ply import read
from cosmos_lidar.errors import DataError
from tests.clips.point_formats.encoders import table, write_ply

FORMATS = ["ascii", "binary_little_endian", "binary_big_endian"]


@pytest.mark.parametrize("format", FORMATS)
def test_properties_come_back_exactly(format, tmp_path):
    cloud = table()
    fields = read(write_ply(tmp_path / "a.ply", cloud, format))
    for name in cloud.dtype.names:
        assert np.array_equal(fields.columns[name], cloud[name]), name
        assert fields.columns[name].dtype.isnative


@pytest.mark.parametrize("format", FORMATS)
def test_an_element_before_the_vertices_is_stepped_over(format, tmp_path):
    cloud = table(5)
    path = write_ply(tmp_path / "a.ply", cloud, format, "element camera 2\nproperty uchar id")
    head, _, body = path.read_bytes().partition(b"end_header\n")
    path.write_bytes(head + b"end_header\n" + (b"7\n8\n" if format == "ascii" else b"\x07\x08") + body)
    assert np.array_equal(read(path).columns["y"], cloud["y"])


@pytest.mark.parametrize("format", FORMATS)
def test_truncated_files_are_refused(format, tmp_path):
    path = write_ply(tmp_path / "a.ply", table(), format)
    content = path.read_bytes()
    for length in (0, 3, 60, len(content) // 2, len(content) - 9):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"a\.ply, clip c"):
            read(path, "c")


@pytest.mark.parametrize(
    ("before", "after", "key"),
    [
        ("1.0", "2.0", "format"),
        ("binary_little_endian", "binary_middle_endian", "format"),
        ("element vertex 500", "element vertex 999999999999", "element vertex"),
        ("element vertex 500", "element vertex many", "element"),
        ("element vertex 500", "element point 500", "element vertex"),
        ("property float z", "property quad z", "element vertex"),
        ("property float z", "property float x", "element vertex"),
        ("property float z", "property list uchar float z", "element vertex"),
        ("comment made", "remark made", "header"),
        ("format binary_little_endian 1.0\n", "", "format"),
    ],
)
def test_headers_that_cannot_be_are_refused(before, after, key, tmp_path):
    path = write_ply(tmp_path / "a.ply", table())
    path.write_bytes(path.read_bytes().replace(before.encode(), after.encode(), 1))
    with pytest.raises(DataError, match=f"key {key}"):
        read(path)


def test_words_that_are_no_numbers_are_refused(tmp_path):
    path = write_ply(tmp_path / "a.ply", table(2), "ascii")
    path.write_bytes(path.read_bytes().rsplit(b"\n", 2)[0] + b"\n1 2 3 4 5 six\n")
    with pytest.raises(DataError, match="key property t"):
        read(path)
