from __future__ import annotations

import shutil

import numpy as np

from cosmos_lidar.clips import open_clips
from cosmos_lidar.sensors import decompensate_motion
from tests.clips.readers.test_kitti import P2, TR, odometry


def test_odometry_points_are_moved_from_the_middle_to_the_start(tmp_path):
    odometry(tmp_path)
    (clip,) = open_clips(tmp_path)
    sweep = clip.read_sweep(2)
    assert np.allclose(sweep.points, [[10.5, 1.0, 0.5]], atol=1e-5)
    in_world = clip.world_SE3_lidar[2, 0] @ [*sweep.points[0], 1.0]
    assert np.allclose(in_world[:3], [12.0, 1.0, 0.5], atol=1e-5)
    assert sweep.intensity.tolist() == [0.25]


def test_odometry_camera(tmp_path):
    odometry(tmp_path)
    (clip,) = open_clips(tmp_path)
    camera = clip.cameras["image_2"]
    assert len(camera) == 4
    assert camera.timestamps_us.tolist() == [0, 100_000, 200_000, 300_000]
    # A point of frame 1 (as published: at the moment of the image) through P2 and Tr, by hand.
    point = np.array([10.0, 1.0, 0.5, 1.0])
    wanted = P2 @ np.vstack([TR, [0, 0, 0, 1]]) @ point
    uv, depth = camera.model.project((np.linalg.inv(camera.lidar_SE3_camera) @ point)[None, :3])
    assert np.allclose(uv[0], wanted[:2] / wanted[2], atol=1e-6)
    assert np.isclose(depth[0], wanted[2])
    in_world = clip.world_SE3_lidar[1, 0] @ [*clip.read_sweep(1).points[0], 1.0]
    again, _ = camera.model.project((np.linalg.inv(camera.world_SE3_camera[1]) @ in_world)[None, :3])
    assert np.allclose(again, uv, atol=1e-3)
    assert camera.read(3)[0, 0].tolist() == [10, 20, 30]


def test_real_scans_refer_to_the_middle_of_a_clockwise_sweep(test_data, tmp_path):
    """As measured, azimuth advances in equal steps; compensation bends them where the range jumps, to the sides."""
    folder = odometry(tmp_path, frames=5, step_m=0.7)  # the motion that registration of these scans gives
    for file in (folder / "velodyne").iterdir():
        shutil.copy(test_data / "kitti_velodyne" / "velodyne" / file.name, file)
    (clip,) = open_clips(tmp_path)
    start, end = clip.world_SE3_lidar[2]
    points = clip.read_sweep(2).points.astype(np.float64)
    stored = points - [0.35, 0, 0]
    seen = decompensate_motion(points, clip.sensor, np.linalg.inv(end) @ start)

    ranges, azimuth = np.hypot(stored[:, 0], stored[:, 1]), np.arctan2(stored[:, 1], stored[:, 0])
    nearer = np.minimum(ranges[1:], ranges[:-1])
    edge = (np.abs(np.diff(ranges)) > 0.25 * nearer) & (nearer < 15) & (np.abs(np.sin(azimuth[1:])) > 0.7)
    edge &= np.abs(np.degrees(np.diff(azimuth))) < 0.6

    def unevenness_deg(points: np.ndarray) -> float:
        steps = np.degrees(np.diff(np.unwrap(np.arctan2(points[:, 1], points[:, 0]))))
        usual = np.median(steps)
        return float(np.mean(np.abs(steps[edge] - np.maximum(np.round(steps[edge] / usual), 1) * usual)))

    assert edge.sum() > 200
    assert unevenness_deg(stored) > 0.2
    assert unevenness_deg(seen) < 0.08  # 0.19 and more for references a quarter of a sweep off, or the other direction
