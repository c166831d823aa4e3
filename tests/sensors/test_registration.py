from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cosmos_lidar.clips import open_clips
from cosmos_lidar.sensors.registration import fit_of, plane_cloud, register, thin


def room(count: int = 20_000, seed: int = 0) -> np.ndarray:
    """Points on the floor, four walls and a slanted roof of a room, with 1 cm of noise."""
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(-1, 1, (2, count))
    side = rng.integers(6, size=count)
    x, y, z = 12 * a, 9 * b, np.full(count, -1.5)
    x, z = np.where(side == 1, 12.0, x), np.where(side == 1, 2 * a + 0.5, z)
    x, z = np.where(side == 2, -12.0, x), np.where(side == 2, 2 * a + 0.5, z)
    y, z = np.where(side == 3, 9.0, y), np.where(side == 3, 2 * b + 0.5, z)
    y, z = np.where(side == 4, -9.0, y), np.where(side == 4, 2 * b + 0.5, z)
    z = np.where(side == 5, 2.5 + 0.2 * x, z)
    return np.stack([x, y, z], 1) + rng.normal(0, 0.01, (count, 3))


def moved(points: np.ndarray, pose: np.ndarray) -> np.ndarray:
    return points @ pose[:3, :3].T + pose[:3, 3]


def pose_of(turn_deg: tuple[float, float, float], move_m: tuple[float, float, float]) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("zyx", turn_deg, degrees=True).as_matrix()
    pose[:3, 3] = move_m
    return pose


@pytest.mark.parametrize("truth", [
    pose_of((0, 0, 0), (0, 0, 0)), pose_of((2, 0.5, -0.3), (0.7, -0.2, 0.05)), pose_of((-4, 0, 1), (1.2, 0.4, -0.1)),
])  # fmt: skip
def test_a_known_motion_is_recovered(truth):
    target = plane_cloud(room(seed=1))
    source = plane_cloud(moved(room(seed=2), np.linalg.inv(truth)))
    found = register(source, target, np.eye(4))
    error = np.linalg.inv(truth) @ found.target_SE3_source
    assert np.linalg.norm(error[:3, 3]) < 0.01
    assert np.degrees(np.linalg.norm(Rotation.from_matrix(error[:3, :3]).as_rotvec())) < 0.1
    assert found.fit > 0.95
    assert fit_of(source, target, truth) == pytest.approx(found.fit, abs=0.02)
    assert fit_of(source, target, pose_of((0, 0, 0), (0, 0.8, 0)) @ truth) < 0.6


def test_normals_are_those_of_the_walls():
    cloud = plane_cloud(room())
    assert np.allclose(np.linalg.norm(cloud.normals, axis=1), 1.0)
    walls = np.abs(cloud.points[:, 0]) > 11.9
    inner = walls & (np.abs(cloud.points[:, 1]) < 8) & (np.abs(cloud.points[:, 2] - 0.3) < 1.2)
    assert np.median(np.abs(cloud.normals[inner, 0])) > 0.99
    assert 0.1 < cloud.upright.mean() < 0.9


def test_thinning_takes_one_point_per_voxel_within_reach():
    points = np.concatenate([room(), [[np.nan, 0, 0], [100, 0, 0], [0.1, 0, 0]]])
    thinned = thin(points, 0.5, 100_000)
    assert len(np.unique(np.floor(thinned / 0.5), axis=0)) == len(thinned)
    assert np.isfinite(thinned).all()
    assert np.linalg.norm(thinned, axis=1).max() < 60
    assert len(thin(points, 0.5, 77)) == 77


def test_clouds_without_planes_or_with_few_points_are_none():
    rng = np.random.default_rng(0)
    assert plane_cloud(rng.uniform(-20, 20, (200, 3))) is None
    line = np.stack([np.linspace(2, 50, 5000), np.zeros(5000), np.zeros(5000)], 1)
    assert plane_cloud(line) is None


def test_neighboring_kitti_scans_move_as_published_tools_find(test_data):
    """0.682 m and 0.695 m forward: by another implementation of ICP, see the README of the recordings."""
    clip = open_clips(test_data / "kitti_velodyne", format="kitti")[0]
    clouds = [plane_cloud(clip.points(index)) for index in range(3)]
    for target, source, forward in zip(clouds, clouds[1:], (0.682, 0.695), strict=False):
        found = register(source, target, np.eye(4))
        assert found.settled
        assert found.target_SE3_source[0, 3] == pytest.approx(forward, abs=0.005)
