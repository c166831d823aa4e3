from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.readers.waymo_v2.sweeps import image_columns
from cosmos_lidar.errors import DataError
from tests.clips.readers.waymo_records import SEGMENT, component_rows, record_drive, write_component, write_components

pytest.importorskip("pyarrow", reason="extra parquet is not installed")


def test_columns_of_both_returns():
    assert image_columns("[A]")[:2] == ("[A].range_image_return1.values", "[A].range_image_return1.shape")
    assert image_columns("[A]")[3] == "[A].range_image_return2.shape"


def test_a_sweep_without_second_return(tmp_path):
    write_components(tmp_path, record_drive())
    rows = component_rows(record_drive())["lidar"]
    for row in rows:
        row["[LiDARComponent].range_image_return2.values"] = row["[LiDARComponent].range_image_return2.shape"] = None
    write_component(tmp_path / "lidar" / f"{SEGMENT}.parquet", rows)
    (clip,) = open_clips(tmp_path)
    assert clip.read_sweep(1).second_return is None
    assert (clip.range_map(1) > 0).any()


def test_an_error_names_table_row_and_lidar(tmp_path):
    write_components(tmp_path, record_drive())
    rows = component_rows(record_drive())["lidar_pose"]
    rows[1]["[LiDARPoseComponent].range_image_return1.values"] = [0.5, 0.5]
    write_component(tmp_path / "lidar_pose" / f"{SEGMENT}.parquet", rows)
    (clip,) = open_clips(tmp_path)
    assert np.isfinite(clip.points(0)).all()
    with pytest.raises(DataError, match="2 values of shape") as caught:
        clip.points(1)
    assert caught.value.key == "row 1, TOP"
    assert caught.value.file == tmp_path / "lidar_pose" / f"{SEGMENT}.parquet"
    assert len(clip.points(2)) > 100
