"""Poses, moved points and mountings, against the synthetic drive that is known exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cosmos_lidar.clips.trajectory import Trajectory
from cosmos_lidar.clips.writers._contract import Losses
from cosmos_lidar.clips.writers._motion import (
    cloud_as_seen,
    cloud_at,
    largest_difference,
    moments_of,
    mounting_of,
    note_camera_poses,
    note_difference,
    once_per_time,
    track_of,
)


def test_a_track_has_one_pose_per_time(drive) -> None:
    track = track_of(drive.lidar)
    assert np.array_equal(track.times_us, np.unique(drive.timestamps_us))
    assert np.array_equal(track.at(drive.timestamps_us[:, 0]), drive.world_SE3_lidar[:, 0])
    assert track_of(drive.with_lidar(world_SE3_lidar=None).lidar) is None


def test_of_an_end_and_a_start_at_one_time_the_pose_of_the_start_counts() -> None:
    numbered = np.tile(np.eye(4), (2, 2, 1, 1))
    numbered[..., 0, 3] = [[0, 1], [2, 3]]
    times, poses = once_per_time(np.array([[0, 10], [10, 20]]), numbered)
    assert (times.tolist(), poses[:, 0, 3].tolist()) == ([0, 10, 20], [0, 2, 3])
    times, poses = once_per_time(np.array([5, 3]), numbered[0])
    assert (times.tolist(), poses[:, 0, 3].tolist()) == ([3, 5], [1, 0])


def test_moments_are_starts_ends_and_what_a_trajectory_has_between_them(drive) -> None:
    times = drive.timestamps_us
    assert moments_of(drive.with_lidar(trajectory=None).lidar).tolist() == np.unique(times).tolist()
    own = np.array([times.min() - 5, times.min() + 5, times.max() + 5])
    path = Trajectory(np.tile(np.eye(4), (3, 1, 1)), own)
    found = moments_of(drive.with_lidar(trajectory=path).lidar)
    assert found.tolist() == np.unique([*times.ravel(), times.min() + 5]).tolist()


def test_points_of_any_axes_lie_at_one_place_in_the_world(drive, compensated) -> None:
    seen = drive.lidar.cloud(1)
    at_start = cloud_at(drive.lidar, 1, seen, int(drive.timestamps_us[1, 0])).points
    assert np.abs(compensated.lidar.read(1).points[: len(at_start)] - at_start).max() < 1e-4
    end = int(drive.timestamps_us[1, 1])
    moved = cloud_at(compensated.lidar, 1, compensated.lidar.read(1), end).points[: len(at_start)]
    end_SE3_start = np.linalg.inv(drive.world_SE3_lidar[1, 1]) @ drive.world_SE3_lidar[1, 0]
    assert np.abs(moved - (at_start @ end_SE3_start[:3, :3].T + end_SE3_start[:3, 3])).max() < 1e-4
    back = cloud_as_seen(compensated.lidar, 1, compensated.lidar.read(1)).points[: len(at_start)]
    assert np.abs(back - seen.points).max() < 1e-4
    assert cloud_as_seen(drive.lidar, 1, seen) is seen


def test_mountings_by_vehicle_and_by_poses(drive) -> None:
    front = drive.cameras["camera_front"]
    given = mounting_of(front, drive.lidar)
    ego = drive.lidar.ego_SE3_lidar @ given
    by_vehicle = mounting_of(replace(front, lidar_SE3_camera=None, ego_SE3_camera=ego), drive.lidar)
    assert np.allclose(by_vehicle, given, rtol=0, atol=1e-12)
    by_poses = replace(front, lidar_SE3_camera=None, ego_SE3_camera=None)
    assert np.allclose(mounting_of(by_poses, drive.lidar), given, rtol=0, atol=1e-6)
    turning = front.world_SE3_camera.copy()
    turning[1, :3, 3] += 1.0
    assert mounting_of(replace(by_poses, world_SE3_camera=turning), drive.lidar) is None
    assert mounting_of(replace(by_poses, world_SE3_camera=None), drive.lidar) is None


def test_differences_in_meters_and_degrees(drive) -> None:
    one = np.eye(4)[None]
    other = one.copy()
    angle = np.radians(2.0)
    other[0, :2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    other[0, :3, 3] = [3, 4, 0]
    assert np.allclose(largest_difference(one, other), (5.0, 2.0))
    assert largest_difference(one[:0], other[:0]) == (0.0, 0.0)
    losses = Losses(drive, frozenset(("poses",)))
    note_difference(losses, "poses", one, one, "kept")
    assert "poses" not in losses.found
    note_difference(losses, "poses", one, other, "kept")
    assert losses.found["poses"] == "kept: off by up to 5 m, 2°"


def test_camera_poses_that_lidar_and_mounting_do_not_give_are_noted(drive) -> None:
    losses = Losses(drive, frozenset(("camera_poses",)))
    note_camera_poses(losses, drive.cameras, drive.lidar)
    assert "camera_poses" not in losses.found
    front = drive.cameras["camera_front"]
    shifted = front.world_SE3_camera.copy()
    shifted[2, 0, 3] += 0.25
    note_camera_poses(losses, {"front": replace(front, world_SE3_camera=shifted)}, drive.lidar)
    assert losses.found["camera_poses"].startswith("front: by lidar and mounting: off by up to 0.25 m")
    note_camera_poses(losses, {"front": front}, drive.with_lidar(world_SE3_lidar=None).lidar)
    assert losses.found["camera_poses"] == "front: not held without poses of the lidar"
