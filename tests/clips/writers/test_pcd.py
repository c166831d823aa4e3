"""The bytes of a PCD file, decoded here by its published header."""

from __future__ import annotations

import numpy as np

from cosmos_lidar.clips.convert import convert_clips


def test_the_file_is_what_its_header_says(compensated, tmp_path) -> None:
    convert_clips([compensated], tmp_path, "pcd")
    sweep = compensated.lidar.read(1)
    head, _, data = (tmp_path / "drive_1" / "20.pcd").read_bytes().partition(b"DATA binary\n")
    words = {line.split()[0]: line.split()[1:] for line in head.decode().splitlines()}
    assert words["VERSION"] == ["0.7"]
    assert words["WIDTH"] == words["POINTS"] == [str(len(sweep.points))]
    assert words["FIELDS"][:6] == ["x", "y", "z", "intensity", "ring", "time_us"]
    kinds = zip(words["FIELDS"], words["TYPE"], words["SIZE"], strict=True)
    table = np.frombuffer(data, [(name, f"<{kind.lower()}{size}") for name, kind, size in kinds])
    assert len(data) == table.nbytes
    assert np.array_equal(np.stack([table[axis] for axis in "xyz"], 1), sweep.points)
    assert np.array_equal(table["time_us"], sweep.time_us)
