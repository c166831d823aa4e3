from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips.point_formats import origin_of, point_formats, read_fields
from cosmos_lidar.errors import DataError


def test_extensions():
    assert set(point_formats()) == {".drc", ".las", ".laz", ".npy", ".npz", ".pcd", ".ply"}


def test_files_are_read_by_their_extension(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((3, 3)))
    (tmp_path / "a.npy").rename(tmp_path / "a.NPY")
    assert len(read_fields(tmp_path / "a.NPY")) == 3
    assert origin_of(tmp_path / "a.NPY") is None


def test_what_is_no_format_or_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no format '.txt'.*clip c"):
        read_fields(tmp_path / "a.txt", "c")
    for name in ("a.pcd", "a.las"):
        with pytest.raises(DataError, match="cannot be read"):
            read_fields(tmp_path / name)
    with pytest.raises(DataError, match="cannot be read"):
        origin_of(tmp_path / "a.las")
