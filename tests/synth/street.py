"""A lidar above an empty street, and its beams written down independently of the caster."""

import numpy as np

from cosmos_lidar.sensors import compensate_motion, range_map_to_points, uniform_sensor
from cosmos_lidar.synth.primitives import Primitives, Shape, body

SENSOR = uniform_sensor(48, 360, 12, -25, max_range_m=105.0)
AT = np.array([310.0, -120.0, 7.0])


def beams() -> np.ndarray:
    """(3, rows, columns) float64 directions of SENSOR, written down independently of the caster."""
    azimuth = np.pi - (np.arange(360) + 0.5) * 2 * np.pi / 360
    elevation = np.radians(np.linspace(12, -25, 48))[:, None]
    flat = np.cos(elevation)
    return np.stack((np.cos(azimuth) * flat, np.sin(azimuth) * flat, np.sin(elevation) + 0 * azimuth))


def still(position=AT) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, 3] = position
    return np.stack((pose, pose))


def far_away() -> Primitives:
    return body(Shape.ELLIPSOID, (0, 0, -5000), (1, 1, 1), 0, 10, (0, 0, 0))


def world_points(clip, index):
    """(N, 3) points of a sweep in the world, each column through its own pose, and their (N,) labels."""
    sweep = clip.read_sweep(index)
    start, end = clip.world_SE3_lidar[index]
    seen = range_map_to_points(sweep.range_m, clip.sensor).astype(np.float64)
    at_start = compensate_motion(seen, clip.sensor, np.linalg.inv(end) @ start)
    return at_start @ start[:3, :3].T + start[:3, 3], sweep.labels[sweep.range_m > 0]
