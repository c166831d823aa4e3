"""Motion compensation (rolling shutter) of a spinning lidar, and its inverse.

While it turns, the sensor moves from its pose at the start of the sweep to that at the end: position linearly, rotation
along the shortest arc (slerp). Compensation applies that pose to each point as the published re-compensation does;
decompensation is its exact inverse (the published one interpolates the inverse motion instead, which differs by
millimeters).
"""

from __future__ import annotations

import math

import numpy as np

from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.arrays import Array, float64, is_tensor, like, namespace
from cosmos_lidar.sensors.rigid import rigid
from cosmos_lidar.sensors.sensor import Sensor

_FIXED_POINT_STEPS = 6  # each round shrinks the error by (motion / range); six settle points beyond a few meters


def decompensate_motion(
    points: Array, sensor: Sensor, end_SE3_start: np.ndarray, fraction: Array | None = None
) -> Array:
    """Undo motion compensation: from the frame of the sweep's start to the sensor frame at each point's time.

    Args:
        points: (N, 3) meters, all in the sensor frame at the start of the sweep.
        sensor: the lidar; its columns tell when a direction is measured.
        end_SE3_start: (4, 4) maps the sensor frame at the start to that at the end of the sweep:
            inv(world_SE3_end) @ world_SE3_start.
        fraction: (N,) time of each point, 0 at the start of the sweep and 1 at its end; by azimuth when not given.

    Returns:
        (N, 3), array or tensor as ``points``, of its dtype.

    Raises:
        DataError: the pose is no rigid transform.
    """
    start_SE3_end = _inverse(end_SE3_start)
    still = float64(points)
    if fraction is not None:
        return _cast(_undo(still, fraction, start_SE3_end), points)
    seen = still
    for _ in range(_FIXED_POINT_STEPS):
        seen = _undo(still, column_fraction(seen, sensor), start_SE3_end)
    return _cast(seen, points)


def compensate_motion(points: Array, sensor: Sensor, end_SE3_start: np.ndarray, fraction: Array | None = None) -> Array:
    """Apply motion compensation: from the sensor frame at each point's time to that at the start of the sweep.

    Arguments and result as :func:`decompensate_motion`.
    """
    start_SE3_end = _inverse(end_SE3_start)
    seen = float64(points)
    fraction = column_fraction(seen, sensor) if fraction is None else fraction
    return _cast(_apply(seen, fraction, start_SE3_end), points)


def column_fraction(points: Array, sensor: Sensor) -> Array:
    """Return (N,) in [0, 1): time of each point's azimuth within the sweep.

    A sweep lasts from the first to the last column. Points beside the field of view of a lidar that sees part of a
    circle have the time of its nearer end, 0 or 1.
    """
    xp = namespace(points)
    azimuth = xp.arctan2(points[:, 1], points[:, 0])
    turned = sensor.first_azimuth_rad - azimuth if sensor.clockwise else azimuth - sensor.first_azimuth_rad
    share = xp.remainder(turned / (2.0 * math.pi), 1.0)
    if sensor.end_azimuth_rad is None:
        return share
    seen = sensor.field_of_view_rad / (2.0 * math.pi)
    share = xp.where(share > 0.5 * (1.0 + seen), xp.zeros_like(share), share)
    return xp.clip(share / seen, 0.0, 1.0)


def _apply(points: Array, fraction: Array, pose: np.ndarray) -> Array:
    """Move each point by its fraction of the pose."""
    share = float64(fraction)[:, None]
    return _turn(points, share, pose) + share * like(pose[:3, 3].copy(), points)


def _undo(points: Array, fraction: Array, pose: np.ndarray) -> Array:
    share = float64(fraction)[:, None]
    return _turn(points - share * like(pose[:3, 3].copy(), points), -share, pose)


def _turn(points: Array, share: Array, pose: np.ndarray) -> Array:
    """Rotate each point by its fraction of the pose's angle (Rodrigues' formula)."""
    axis, angle = _axis_angle(pose[:3, :3])
    if angle == 0.0:
        return points
    xp = namespace(points)
    matrix = like(_cross_matrix(axis).T.copy(), points)
    cross = points @ matrix
    return points + xp.sin(share * angle) * cross + (1.0 - xp.cos(share * angle)) * (cross @ matrix)


def _axis_angle(rotation: np.ndarray) -> tuple[np.ndarray, float]:
    from scipy.spatial.transform import Rotation

    vector = Rotation.from_matrix(rotation).as_rotvec()
    angle = float(np.linalg.norm(vector))
    return (vector / angle if angle else vector), angle


def _cross_matrix(k: np.ndarray) -> np.ndarray:
    return np.array([[0.0, -k[2], k[1]], [k[2], 0.0, -k[0]], [-k[1], k[0], 0.0]])


def _inverse(pose: np.ndarray) -> np.ndarray:
    pose = np.asarray(pose, np.float64)
    if pose.shape != (4, 4) or not rigid(pose, 1e-4):
        raise DataError(f"not a rigid transform: {pose.tolist()}", key="end_SE3_start", wanted="a (4, 4) pose")
    return np.linalg.inv(pose)


def _cast(result: Array, template: Array) -> Array:
    if is_tensor(result) and is_tensor(template):
        return result.to(template.dtype)
    return np.asarray(result).astype(np.asarray(template).dtype)
