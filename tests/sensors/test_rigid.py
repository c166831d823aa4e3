from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.rigid import pose_of_file, rigid


def test_rigid():
    poses = np.tile(np.eye(4), (6, 1, 1))
    poses[1, 0, 0] = np.nan
    poses[2, 0, 0] = -1.0  # a mirror
    poses[3, :3, :3] *= 1.01
    poses[4, 3, 0] = 0.5
    poses[5, :3, 3] = 1e6
    assert rigid(poses).tolist() == [True, False, False, False, False, True]


def test_pose_of_file_as_it_was_read():
    pose = [[0, -1, 0, 2], [1, 0, 0, 3], [0, 0, 1, 4], [0, 0, 0, 1]]
    read = pose_of_file(pose, "calib.json", "extrinsics", "lidar to vehicle")
    assert read.dtype == np.float64
    assert read.tolist() == pose


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ([["a"] * 4] * 4, "could not convert"),
        (np.eye(3).tolist(), r"shape \(3, 3\)"),
        ((2 * np.eye(4)).tolist(), "no rigid motion"),
        ([[1, 0], [1]], "inhomogeneous"),
    ],
)
def test_wrong_poses_name_file_and_key(value, problem):
    with pytest.raises(DataError, match=problem) as caught:
        pose_of_file(value, "calib.json", "extrinsics", "lidar to vehicle", what="camera front")
    message = str(caught.value)
    assert "calib.json" in message
    assert "lidar to vehicle" in message
    assert "camera front" in message
    assert caught.value.key == "extrinsics"
