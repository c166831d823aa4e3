from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.readers.kitti360.calibration import read_frame_poses
from cosmos_lidar.errors import DataError
from tests.clips.readers.test_kitti import row
from tests.clips.readers.test_kitti360 import DRIVE, write_drive


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("calib_cam_to_velo.txt", None, "cannot be read: No such file.*calib_cam_to_velo.txt, clip"),
        ("calib_cam_to_velo.txt", "1 2 3\n", "3 numbers.*calib_cam_to_velo.txt, clip .*3 x 4 numbers"),
        ("calib_cam_to_velo.txt", "one\n", "not readable: could not convert.*calib_cam_to_velo.txt"),
        ("calib_cam_to_velo.txt", "0 " * 12, "no rigid motion.*calib_cam_to_velo.txt"),
        ("calib_cam_to_pose.txt", row("image_00", np.eye(3, 4)), "row missing.*calib_cam_to_pose.txt, .*key image_01"),
        ("perspective.txt", None, "missing calibration file.*perspective.txt"),
        ("perspective.txt", row("R_rect_00", np.eye(3)), "row missing.*perspective.txt, clip .*, key S_rect_00"),
        ("perspective.txt", row("R_rect_00", np.zeros(9)), "no rigid motion.*perspective.txt, clip .*, key R_rect_00"),
    ],
)
def test_broken_calibration(tmp_path, name, content, message):
    write_drive(tmp_path)
    file = tmp_path / "calibration" / name
    file.unlink()
    if content is not None:
        file.write_text(content)
    with pytest.raises(DataError, match=message):
        open_clips(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\n", "no pose in it.*poses.txt, clip"),
        ("1 2 3\n", "not readable: 3 numbers.*poses.txt, clip .*, key line 1"),
        ("a " * 13, "not readable: could not convert.*key line 1"),
        ("0 " * 13, "no rigid motion.*key line 1"),
        ("1.5 1 0 0 0 0 1 0 0 0 0 1 0\n", "not readable.*key line 1"),
        ("3 1 0 0 0 0 1 0 0 0 0 1 0\n3 1 0 0 0 0 1 0 0 0 0 1 0\n", "frames out of order.*key line 2"),
        ("90 1 0 0 0 0 1 0 0 0 0 1 0\n", "poses of frames 90 to 90, scans of 0 to 4.*poses.txt"),
    ],
)
def test_broken_poses(tmp_path, content, message):
    write_drive(tmp_path)
    (tmp_path / "data_poses" / DRIVE / "poses.txt").write_text(content)
    with pytest.raises(DataError, match=message):
        open_clips(tmp_path)


def test_poses_by_frame(tmp_path):
    file = tmp_path / "cam0_to_world.txt"
    file.write_text("2 1 0 0 5 0 1 0 6 0 0 1 7 0 0 0 1\n\n9 1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1\n")
    frames, poses = read_frame_poses(file, 4, "clip")
    assert frames.tolist() == [2, 9]
    assert poses[0, :3, 3].tolist() == [5, 6, 7]
