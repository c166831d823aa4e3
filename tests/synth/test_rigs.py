import numpy as np
import pytest

from cosmos_lidar.clips.view_ids import PUBLISHED_IDS
from cosmos_lidar.errors import UserError
from cosmos_lidar.synth import ftheta_rig, pinhole_rig, surround_rig
from cosmos_lidar.synth.rigs import mount


def test_unknown_view():
    for rig in (ftheta_rig, pinhole_rig):
        with pytest.raises(UserError, match="unknown camera 'top': there are front, left, right"):
            rig(("front", "top"))


@pytest.mark.parametrize(("yaw", "pitch"), [(0.0, 0.0), (90.0, 0.0), (-150.0, 10.0)])
def test_mounts_look_where_they_are_told(yaw, pitch):
    pose = mount((1.0, 2.0, 3.0), yaw, pitch)
    assert pose[:3, 3].tolist() == [1, 2, 3]
    turn = pose[:3, :3]
    assert np.abs(turn.T @ turn - np.eye(3)).max() < 1e-12
    assert np.linalg.det(turn) == pytest.approx(1.0)
    forward = turn @ [0, 0, 1]
    assert np.degrees(np.arctan2(forward[1], forward[0])) == pytest.approx(yaw)
    assert np.degrees(np.arcsin(-forward[2])) == pytest.approx(pitch)
    assert (turn @ [1, 0, 0])[2] == pytest.approx(0.0)  # no roll
    assert (turn @ [0, 1, 0])[2] < -0.9  # y of a camera points down


def test_rigs_have_the_asked_views_and_sizes():
    published = ftheta_rig()
    assert [camera.name for camera in published] == [
        "camera_front_wide_120fov", "camera_rear_left_70fov", "camera_rear_right_70fov"
    ]  # fmt: skip
    assert all((camera.model.width, camera.model.height) == (1920, 1080) for camera in published)
    small = ftheta_rig(("front",), 640)[0].model
    assert (small.width, small.height) == (640, 360)
    ray = published[0].model.unproject(np.array([1200.0, 800.0]))
    assert small.unproject((np.array([1200.0, 800.0]) + 0.5) / 3 - 0.5) == pytest.approx(ray, abs=1e-4)
    left, right = pinhole_rig(("left", "right"), 320, fov_deg=90.0)
    assert (left.name, left.model.width, left.model.height) == ("camera_left", 320, 180)
    assert left.model.fx == pytest.approx(160.0)  # half the width over tan 45 degrees
    assert left.vehicle_SE3_camera[1, 3] == -right.vehicle_SE3_camera[1, 3] == 0.95
    assert pinhole_rig(("front",), 320, 200)[0].model.height == 200


def test_five_cameras_look_where_their_published_names_say():
    rig = surround_rig(320)
    yaws = [np.degrees(np.arctan2(*camera.vehicle_SE3_camera[1::-1, 2])) for camera in rig]
    assert yaws == pytest.approx([90, 45, 0, -45, -90])
    assert [PUBLISHED_IDS[camera.name] for camera in rig] == [4, 5, 0, 1, 2]
    assert {(camera.model.width, camera.model.height) for camera in rig} == {(320, 180)}
