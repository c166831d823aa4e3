from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.viz.ego_path import ego_path
from tests.viz.test_recording import recording


def circle(radius_m: float, count: int) -> np.ndarray:
    """Poses on a quarter of a circle to the left, which starts in the direction of 30 degrees, and elsewhere."""
    angle = np.linspace(0, np.pi / 2, count)
    yaw, poses = angle + np.pi / 6, np.zeros((count, 4, 4))
    poses[:, 0, 0], poses[:, 0, 1], poses[:, 1, 0], poses[:, 1, 1] = np.cos(yaw), -np.sin(yaw), np.sin(yaw), np.cos(yaw)
    poses[:, 2, 2] = poses[:, 3, 3] = 1
    poses[:, 0, 3] = 100 + radius_m * (np.sin(yaw) - np.sin(np.pi / 6))
    poses[:, 1, 3] = -50 - radius_m * (np.cos(yaw) - np.cos(np.pi / 6))
    return poses


def test_a_left_turn_ends_ahead_and_to_the_left():
    poses = circle(20.0, 51)
    clip = recording(51).with_lidar(world_SE3_lidar=np.stack([poses, poses], axis=1))
    path = ego_path(clip)
    assert path.xy_m[0] == pytest.approx([0, 0])
    assert path.xy_m[-1] == pytest.approx([20, 20])
    assert path.heading_rad[-1] == pytest.approx(np.pi / 2)
    assert path.length_m == pytest.approx(20 * np.pi / 2, rel=1e-3)


def test_cameras_alone_look_along_the_path():
    forward = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])  # camera axes in vehicle axes
    poses = circle(20.0, 7)
    clip = recording(7)
    camera = replace(clip.cameras["front"], world_SE3_camera=poses @ forward)
    path = ego_path(replace(clip, lidars={}, cameras={"front": camera}))
    assert path.source == "camera front"
    assert path.xy_m[-1] == pytest.approx([20, 20])
    assert path.heading_rad[-1] == pytest.approx(np.pi / 2)


def test_no_poses_no_path():
    assert ego_path(recording().with_lidar(world_SE3_lidar=None)) is None
    assert ego_path(replace(recording(), lidars={}, cameras={})) is None
