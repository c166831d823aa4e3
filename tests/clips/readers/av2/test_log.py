from __future__ import annotations

import shutil

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.errors import DataError
from tests.clips.readers.test_av2 import (
    FIRST_NS,
    MOUNTS,
    STEP_NS,
    WORLD,
    city_SE3_ego,
    pose_columns,
    write_images,
    write_log,
    write_sweep,
    write_table,
)


def test_a_log_without_poses_says_so(tmp_path):
    log = write_log(tmp_path)
    (log / "city_SE3_egovehicle.feather").unlink()
    (clip,) = open_clips(log)
    assert clip.world_SE3_lidar is None
    assert any("no city_SE3_egovehicle.feather: no poses" in note for note in clip.notes)
    ego = (WORLD - city_SE3_ego(0.2)[:3, 3]) @ city_SE3_ego(0.2)[:3, :3]
    mine = np.arange(len(WORLD)) % 64 < 32
    assert np.allclose(clip.lidars["up_lidar"].read(2).points, ego[mine] - MOUNTS["up_lidar"][1], atol=1e-4)


def test_missing_calibration(tmp_path):
    log = write_log(tmp_path)
    file = log / "calibration/egovehicle_SE3_sensor.feather"
    write_table(file, sensor_name=["up_lidar"], **pose_columns([MOUNTS["up_lidar"]]))
    with pytest.raises(DataError, match="no calibration of it.*egovehicle_SE3_sensor.feather, clip .*, key down_lidar"):
        open_clips(log)
    file.unlink()
    with pytest.raises(DataError, match="cannot be read: No such file.*egovehicle_SE3_sensor.feather"):
        open_clips(log)


def test_cameras_without_calibration(tmp_path):
    log = write_log(tmp_path)
    write_images(log, 2)
    (log / "sensors/cameras/ring_front_center").rename(log / "sensors/cameras/ring_rear")
    with pytest.raises(DataError, match="no calibration of it.*intrinsics.feather, clip .*, key ring_rear"):
        open_clips(log)
    (log / "calibration/intrinsics.feather").unlink()
    with pytest.raises(DataError, match="cannot be read.*intrinsics.feather"):
        open_clips(log)
    shutil.rmtree(log / "sensors/cameras")
    (clip,) = open_clips(log)
    assert clip.cameras == {}
    assert "no images below sensors/cameras" in clip.notes


def test_images_of_another_size_than_calibrated(tmp_path):
    from PIL import Image

    log = write_log(tmp_path, images=2)
    for file in (log / "sensors/cameras/ring_front_center").iterdir():
        Image.new("RGB", (310, 410)).save(file)
    (clip,) = open_clips(log)
    assert "ring_front_center: images of 310 x 410, calibrated at 155 x 205" in clip.notes
    model = clip.cameras["ring_front_center"].model
    assert (model.fx, model.width, model.height) == (340.0, 310, 410)


@pytest.mark.parametrize(
    ("turn", "place"), [((0.0, 0, 0, 0), (0, 0, 0)), ((np.nan, 0, 0, 1), (0, 0, 0)), ((1.0, 0, 0, 0), (np.inf, 0, 0))]
)
def test_broken_poses_name_their_row(tmp_path, turn, place):
    log = write_log(tmp_path)
    rows = [((1.0, 0, 0, 0), (0.0, 0, 0)), (turn, place)]
    stamps = np.array([FIRST_NS, FIRST_NS + 5 * STEP_NS])
    write_table(log / "city_SE3_egovehicle.feather", timestamp_ns=stamps, **pose_columns(rows))
    with pytest.raises(DataError, match="no pose.*city_SE3_egovehicle.feather, clip .*, key row 1"):
        open_clips(log)


def test_poses_that_end_before_the_sweeps(tmp_path):
    log = write_log(tmp_path)
    rows = [((1.0, 0, 0, 0), (0.0, 0, 0))] * 2
    stamps = np.array([FIRST_NS - 30 * STEP_NS, FIRST_NS - 20 * STEP_NS])
    write_table(log / "city_SE3_egovehicle.feather", timestamp_ns=stamps, **pose_columns(rows))
    with pytest.raises(DataError, match="no pose near.*city_SE3_egovehicle.feather.*key timestamp_ns.*these go from"):
        open_clips(log)
    none = {name: values[:0] for name, values in pose_columns(rows).items()}
    write_table(log / "city_SE3_egovehicle.feather", timestamp_ns=stamps[:0], **none)
    with pytest.raises(DataError, match="no pose in it.*city_SE3_egovehicle.feather"):
        open_clips(log)


def test_a_file_whose_name_is_no_time(tmp_path):
    log = write_log(tmp_path)
    write_sweep(log / "sensors/lidar/first.feather", WORLD[:1], np.array([3]), np.array([0]))
    with pytest.raises(DataError, match="no stamp in the file name.*first.feather"):
        open_clips(log)


def test_a_number_that_is_no_time(tmp_path):
    log = write_log(tmp_path)
    write_sweep(log / f"sensors/lidar/{10**30}.feather", WORLD[:1], np.array([3]), np.array([0]))
    with pytest.raises(DataError, match="no stamp in the file name.*000.feather"):
        open_clips(log)
