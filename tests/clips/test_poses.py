from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips.poses import (
    interpolate_poses,
    pose_from_quaternion,
    quaternion_of,
    rotation_from_vector,
)
from cosmos_lidar.sensors.rigid import rigid


def pose(vector: list[float], place: list[float]) -> np.ndarray:
    result = np.eye(4)
    result[:3, :3] = rotation_from_vector(np.array(vector, float))
    result[:3, 3] = place
    return result


def test_halfway_is_half_the_turn_and_half_the_way():
    poses = np.stack([pose([0, 0, 0], [0, 0, 0]), pose([0, 0, 0.4], [2, 4, 0])])
    between = interpolate_poses(poses, np.array([100, 200]), np.array([[100, 150], [200, 250]]))
    assert between.shape == (2, 2, 4, 4)
    assert np.allclose(between[0, 0], poses[0])
    assert np.allclose(between[0, 1], pose([0, 0, 0.2], [1, 2, 0]))
    assert np.allclose(between[1, 0], poses[1])
    assert np.allclose(between[1, 1], pose([0, 0, 0.6], [3, 6, 0]))  # beyond the end the motion goes on


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 1.0, 3.0, 3.1415])
def test_any_turn_below_half_a_revolution(angle):
    axis = np.array([0.6, -0.64, 0.48])
    poses = np.stack(
        [pose([0.3, 0.2, 0.1], [0, 0, 0]), pose([0.3, 0.2, 0.1], [0, 0, 0]) @ pose((axis * angle).tolist(), [0, 0, 0])]
    )
    third = interpolate_poses(poses, np.array([0, 3]), np.array(1.0))
    assert rigid(third)
    assert np.allclose(third, poses[0] @ pose((axis * angle / 3).tolist(), [0, 0, 0]), atol=1e-7)


def test_one_pose_is_the_pose_of_all_times():
    only = pose([0.1, 0, 0], [1, 2, 3])[None]
    assert np.allclose(interpolate_poses(only, np.array([5]), np.array([0, 9])), only)


def test_quaternion():
    quarter = pose_from_quaternion([2.0, 0, 0, 2.0], [1, 2, 3])  # normalized here
    assert np.allclose(quarter[:3, :3] @ [1, 0, 0], [0, 1, 0])
    assert quarter[:3, 3].tolist() == [1, 2, 3]


def test_quaternions_of_rotations_and_back() -> None:
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(500, 3))
    angles = np.concatenate([rng.uniform(0, np.pi, 400), np.full(50, np.pi), np.zeros(50)])
    rotations = rotation_from_vector(axes / np.linalg.norm(axes, axis=1, keepdims=True) * angles[:, None])
    found = quaternion_of(rotations)
    assert found.shape == (500, 4)
    assert (found[:, 0] >= 0).all()
    back = np.stack([pose_from_quaternion(list(one), [0.0, 0, 0])[:3, :3] for one in found])
    assert np.abs(back - rotations).max() < 1e-14
    assert np.allclose(found[:400, 0], np.cos(angles[:400] / 2))
    assert np.array_equal(quaternion_of(np.eye(3)), [1, 0, 0, 0])
