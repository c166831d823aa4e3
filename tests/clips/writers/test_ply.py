"""The bytes of a PLY file, decoded here by its published header."""

from __future__ import annotations

import numpy as np

from cosmos_lidar.clips.convert import convert_clips

TYPES = {"float": "<f4", "uchar": "u1", "ushort": "<u2", "uint": "<u4", "int": "<i4"}


def test_the_file_is_what_its_header_says(compensated, tmp_path) -> None:
    convert_clips([compensated], tmp_path, "ply")
    sweep = compensated.lidar.read(1)
    content = (tmp_path / "drive_1" / "20.ply").read_bytes()
    head, _, data = content.partition(b"end_header\n")
    lines = head.decode().splitlines()
    assert lines[:3] == ["ply", "format binary_little_endian 1.0", f"element vertex {len(sweep.points)}"]
    table = np.frombuffer(data, [(line.split()[2], TYPES[line.split()[1]]) for line in lines[3:]])
    assert table.dtype.names == ("x", "y", "z", "intensity", "ring", "time_us", "label", "instance", "return_number")
    assert len(data) == table.nbytes
    assert np.array_equal(np.stack([table[axis] for axis in "xyz"], 1), sweep.points)
    assert np.array_equal(table["instance"], sweep.instance)
