from __future__ import annotations

import pytest

from cosmos_lidar.clips.readers.waymo_v2.layout import SegmentFiles, find_segments
from cosmos_lidar.errors import DataError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_segments_of_components_and_splits(tmp_path):
    flat = touch(
        tmp_path / "flat", "vehicle_pose/a.parquet", "lidar/a.parquet", "camera_image/b.parquet", "x/c.parquet"
    )
    assert find_segments(flat) == [SegmentFiles(flat, "a"), SegmentFiles(flat, "b")]
    assert find_segments(flat / "camera_image") == [SegmentFiles(flat, "b")]
    assert find_segments(flat / "vehicle_pose" / "a.parquet") == [SegmentFiles(flat, "a")]
    assert find_segments(flat / "x" / "c.parquet") == find_segments(flat / "x") == []
    split = touch(tmp_path / "all", "training/vehicle_pose/a.parquet", "validation/vehicle_pose/b.parquet")
    assert find_segments(split) == [SegmentFiles(split / "training", "a"), SegmentFiles(split / "validation", "b")]


def test_files_that_are_not_there(tmp_path):
    files = SegmentFiles(touch(tmp_path, "lidar/a.parquet"), "a")
    assert files.file("lidar") == files.needed("lidar", "this") == tmp_path / "lidar" / "a.parquet"
    assert files.file("lidar_pose") is None
    with pytest.raises(DataError, match=r"no lidar_pose on disk.*lidar_pose/a\.parquet, clip a.*the file, for that"):
        files.needed("lidar_pose", "that")
