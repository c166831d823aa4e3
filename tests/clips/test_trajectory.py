"""Poses between poses: straight, and with constant acceleration against the formula of such motion."""

from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips.poses import interpolate_poses, rotation_from_vector
from cosmos_lidar.clips.trajectory import Trajectory
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.rigid import rigid

FIRST_US = 1_700_000_000_000_000


def braking_turn(time_s: np.ndarray) -> np.ndarray:
    """Return poses of a car at 20 m/s that brakes by 6 m/s² and turns in ever faster."""
    poses = np.tile(np.eye(4), (*time_s.shape, 1, 1))
    poses[..., 0, 3] = 20 * time_s - 3 * time_s**2
    poses[..., 1, 3] = 0.5 * time_s**2 + 7
    yaw = 0.1 * time_s + 0.4 * time_s**2
    poses[..., :3, :3] = rotation_from_vector(np.stack([0 * yaw, 0 * yaw, yaw], -1))
    return poses


def test_constant_acceleration_is_exact_with_order_two():
    """Also with uneven steps, and beyond both ends."""
    nodes_s = np.array([0.0, 0.1, 0.35, 0.5, 0.9])
    nodes_us = FIRST_US + np.rint(nodes_s * 1e6).astype(np.int64)
    wanted_us = FIRST_US + np.arange(-50_000, 1_000_000, 7919)
    truth = braking_turn((wanted_us - FIRST_US) / 1e6)
    found = Trajectory(braking_turn(nodes_s), nodes_us, 2).at(wanted_us)
    assert rigid(found, 1e-9).all()
    assert np.abs(found - truth).max() < 1e-6
    straight = Trajectory(braking_turn(nodes_s), nodes_us, 1).at(wanted_us)
    assert np.abs(straight - truth).max() > 0.05


def test_order_two_goes_through_its_poses_and_needs_three():
    nodes = np.array([0, 100, 250])
    poses = braking_turn(nodes / 1e6 * 1000)
    assert np.allclose(Trajectory(poses, nodes, 2).at(nodes), poses)
    two = Trajectory(poses[:2], nodes[:2], 2).at(np.array([[50], [70]]))
    assert np.allclose(two, interpolate_poses(poses[:2], nodes[:2], np.array([[50], [70]])))


def test_times_since_1970_are_exact():
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[1, 0, 3] = 8.0
    trajectory = Trajectory(poses, np.array([FIRST_US, FIRST_US + 8]))
    assert trajectory.at(np.arange(FIRST_US, FIRST_US + 9))[:, 0, 3].tolist() == list(range(9))


def test_a_mounted_part():
    poses = braking_turn(np.array([0.0, 0.1]))
    mounting = np.eye(4)
    mounting[:3, 3] = 1.0, 0.0, 2.0
    moved = Trajectory(poses, np.array([0, 100_000]), 2).moved(mounting)
    assert moved.order == 2
    assert np.allclose(moved.at(np.array(0)), poses[0] @ mounting)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"times_us": np.array([5, 5])}, "times that do not increase"),
        ({"times_us": np.array([5])}, r"at times \(1,\)"),
        ({"world_SE3_body": np.stack([np.eye(4), 2 * np.eye(4)])}, "pose 1 is no rigid motion"),
        ({"order": 3}, "order 3"),
    ],
)
def test_what_is_no_trajectory_is_refused(change, message):
    given = {"world_SE3_body": np.stack([np.eye(4)] * 2), "times_us": np.array([0, 9]), "order": 1, **change}
    with pytest.raises(DataError, match=message):
        Trajectory(**given)
