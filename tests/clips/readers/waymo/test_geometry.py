from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cosmos_lidar.clips.readers.waymo.geometry import (
    CAMERAS,
    LIDARS,
    TOP,
    by_rows,
    ego_from_optical,
    lidar_geometry,
    move_pixels,
    poses_of,
    sweep_ends,
)
from cosmos_lidar.sensors import ray_directions

RNG = np.random.default_rng(0)


def pose(yaw: float, pitch: float, roll: float, place: tuple[float, float, float]) -> np.ndarray:
    made = np.eye(4)
    made[:3, :3] = Rotation.from_euler("ZYX", [yaw, pitch, roll]).as_matrix()
    made[:3, 3] = place
    return made


def published_rays(ego_SE3_laser: np.ndarray, rising: np.ndarray, columns: int) -> np.ndarray:
    """Directions in vehicle axes, one pixel at a time, as range_image_utils.py has them."""
    correction = np.arctan2(ego_SE3_laser[1, 0], ego_SE3_laser[0, 0])
    rays = np.zeros((len(rising), columns, 3))
    for row, inclination in enumerate(rising[::-1]):
        for column in range(columns):
            ratio = (columns - column - 0.5) / columns
            azimuth = (ratio * 2 - 1) * np.pi - correction
            rays[row, column] = (np.cos(azimuth) * np.cos(inclination), np.sin(azimuth) * np.cos(inclination),
                                 np.sin(inclination))  # fmt: skip
    return rays @ ego_SE3_laser[:3, :3].T


@pytest.mark.parametrize("yaw", [2.58, -3.1, 0.0, 1.57])
def test_rays_are_the_published_ones(yaw):
    laser, rising = pose(yaw, 0.03, -0.02, (1.43, 0.1, 2.18)), np.array([-0.3, -0.2, -0.12, 0.0, 0.04])
    geometry = lidar_geometry(TOP, rising, (0.0, 0.0), laser, (5, 12))
    found = ray_directions(geometry.sensor) @ geometry.ego_SE3_lidar[:3, :3].T
    assert np.abs(found - published_rays(laser, rising, 12)).max() < 1e-12
    assert np.array_equal(geometry.ego_SE3_lidar[:3, 3], laser[:3, 3])
    assert geometry.ego_SE3_lidar[0, 0] > 0.99
    assert (geometry.name, geometry.sensor.name, geometry.sensor.clockwise) == ("TOP", "waymo_top", True)


def test_rows_of_equal_height():
    laser = pose(1.57, 0.0, 0.0, (0.0, 1.0, 1.0))
    geometry = lidar_geometry(3, np.zeros(0), (-1.5, 0.5), laser, (200, 600))
    assert geometry.sensor.row_elevations_rad[[0, 1, -1]] == pytest.approx([0.495, 0.485, -1.495])
    assert geometry.sensor.elevation_slack_rad == pytest.approx(0.005)
    assert (geometry.name, geometry.shape) == ("SIDE_LEFT", (200, 600))


def test_the_middle_column_looks_forward_and_the_first_ones_to_the_rear():
    for yaw in (2.58, 0.0, -1.57):
        geometry = lidar_geometry(TOP, np.array([-0.1, 0.0]), (0.0, 0.0), pose(yaw, 0, 0, (0, 0, 2)), (2, 8))
        ahead = (ray_directions(geometry.sensor) @ geometry.ego_SE3_lidar[:3, :3].T)[1]
        azimuth = np.degrees(np.arctan2(ahead[:, 1], ahead[:, 0]))
        assert azimuth == pytest.approx([157.5, 112.5, 67.5, 22.5, -22.5, -67.5, -112.5, -157.5])  # left before right


def test_poses_of_roll_pitch_and_yaw():
    values = RNG.uniform(-1.5, 1.5, (7, 3, 6))
    found = poses_of(values)
    expected = Rotation.from_euler("ZYX", values[..., 2::-1].reshape(-1, 3)).as_matrix().reshape(7, 3, 3, 3)
    assert np.abs(found[..., :3, :3] - expected).max() < 1e-12
    assert np.array_equal(found[..., :3, 3], values[..., 3:])
    assert np.array_equal(found[..., 3, :], np.broadcast_to([0, 0, 0, 1], (7, 3, 4)))


def test_ends_of_a_sweep_continue_its_row():
    columns = np.arange(10) + 0.5
    row = np.stack([0 * columns, 0 * columns, 0.01 * columns, 2 + 0.1 * columns, 0 * columns, 1 + 0 * columns], 1)
    row[0], row[7:] = 0, 0  # pixels without a pose
    start, end = sweep_ends(row.astype(np.float32))
    assert start[:3, 3] == pytest.approx([2, 0, 1], abs=1e-5)
    assert end[:3, 3] == pytest.approx([3, 0, 1], abs=1e-5)
    assert np.arctan2(end[1, 0], end[0, 0]) == pytest.approx(0.1, abs=1e-5)
    assert sweep_ends(np.zeros((10, 6), np.float32)) is None
    assert sweep_ends(np.full((10, 6), np.nan, np.float32)) is None
    one = np.zeros((10, 6), np.float32)
    one[4] = row[4]
    assert np.array_equal(*sweep_ends(one))


@pytest.mark.parametrize("share", [0.9, 0.1])  # the second returns of a pulse are few
def test_points_are_moved_by_their_own_poses(share):
    """Every pixel has another pose, far from the origin of the world; one pixel at a time, in float64."""
    laser, rising = pose(2.58, 0.03, -0.02, (1.43, 0.1, 2.18)), np.linspace(-0.3, 0.04, 20)
    geometry = lidar_geometry(TOP, rising, (0.0, 0.0), laser, (20, 30))
    range_m = np.where(RNG.random((20, 30)) < share, RNG.uniform(1, 75, (20, 30)), 0).astype(np.float32)
    poses = RNG.normal(0, 0.05, (20, 30, 6)) + [0.02, -0.03, 2.8, -12_345.0, 8_765.0, 55.0]
    poses = poses.astype(np.float32)
    world_SE3_lidar = pose(2.75, -0.02, 0.01, (-12_344.3, 8_764.6, 57.2))
    few = np.where(RNG.random((20, 30)) < 0.1, range_m, 0)
    found, of_few = move_pixels([range_m, few], by_rows(poses), geometry, world_SE3_lidar)
    assert np.abs(of_few - found[few[range_m > 0] > 0]).max() < 1e-5
    rays, expected = published_rays(laser, rising, 30), []
    for row, column in np.argwhere(range_m > 0):
        ego = rays[row, column] * range_m[row, column] + laser[:3, 3]
        roll, pitch, yaw, *place = poses[row, column].astype(float)
        world = Rotation.from_euler("ZYX", [yaw, pitch, roll]).apply(ego) + place
        expected.append((world - world_SE3_lidar[:3, 3]) @ world_SE3_lidar[:3, :3])
    assert found.dtype == np.float32
    assert np.abs(found - np.array(expected)).max() < 1e-4


def test_camera_axes():
    """Right is minus y, down is minus z, forward is x of Waymo's cameras."""
    camera = pose(0.8, 0.1, 0.05, (1.5, 0.0, 2.1))
    optical = ego_from_optical(camera)
    assert np.allclose(optical[:3, :3], np.stack([-camera[:3, 1], -camera[:3, 2], camera[:3, 0]], 1))
    assert np.linalg.det(optical) == pytest.approx(1)
    assert (len(LIDARS), len(CAMERAS)) == (5, 5)
