"""Rolling shutter of a spinning lidar: points as seen while the car moved, or as if it had stood still.

The sensor moves from its pose at the start of the sweep to that at the end; in between, translation is interpolated
linearly and rotation along the shortest arc (slerp), as the published preprocessing does.
"""

from __future__ import annotations

import math

import numpy as np

from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.arrays import Array, float64, is_tensor, like, namespace
from cosmos_lidar.sensors.sensor import Sensor

_FIXED_POINT_STEPS = 3  # the column moves by less than a thousandth of a turn; three rounds settle it to 1e-9


def decompensate_motion(
    points: Array, sensor: Sensor, end_SE3_start: np.ndarray, fraction: Array | None = None
) -> Array:
    """Move points from the frame of the sweep's start to where the sensor saw them when it measured each.

    Args:
        points: (N, 3) metres, all in the sensor frame at the start of the sweep.
        sensor: the lidar; its columns tell when a direction is measured.
        end_SE3_start: (4, 4) maps the sensor frame at the start to that at the end of the sweep:
            inv(world_SE3_end) @ world_SE3_start.
        fraction: (N,) time of each point, 0 at the start of the sweep and 1 at its end; by azimuth when not given.

    Returns:
        (N, 3) of the kind and type of ``points``.

    Raises:
        DataError: the pose is no rigid transform.
    """
    _check_rigid(end_SE3_start)
    if fraction is not None:
        return _cast(_partial(float64(points), fraction, end_SE3_start), points)
    moved = float64(points)
    for _ in range(_FIXED_POINT_STEPS):
        moved = _partial(float64(points), column_fraction(moved, sensor), end_SE3_start)
    return _cast(moved, points)


def compensate_motion(points: Array, sensor: Sensor, end_SE3_start: np.ndarray, fraction: Array | None = None) -> Array:
    """Move points from where the sensor saw them to its frame at the start of the sweep: undoes the above.

    Arguments and result as :func:`decompensate_motion`.
    """
    _check_rigid(end_SE3_start)
    seen = float64(points)
    fraction = column_fraction(seen, sensor) if fraction is None else fraction
    return _cast(_partial_inverse(seen, fraction, end_SE3_start), points)


def column_fraction(points: Array, sensor: Sensor) -> Array:
    """Return (N,) in [0, 1): when in the sweep the sensor looks into each point's azimuth."""
    xp = namespace(points)
    azimuth = xp.arctan2(points[:, 1], points[:, 0])
    turned = sensor.first_azimuth_rad - azimuth if sensor.clockwise else azimuth - sensor.first_azimuth_rad
    return xp.remainder(turned / (2.0 * math.pi), 1.0)


def _partial(points: Array, fraction: Array, end_SE3_start: np.ndarray) -> Array:
    """Apply to each point that share of the whole motion."""
    share = float64(fraction)[:, None]
    return _turn(points, share, end_SE3_start) + share * like(end_SE3_start[:3, 3].copy(), points)


def _partial_inverse(points: Array, fraction: Array, end_SE3_start: np.ndarray) -> Array:
    share = float64(fraction)[:, None]
    return _turn(points - share * like(end_SE3_start[:3, 3].copy(), points), -share, end_SE3_start)


def _turn(points: Array, share: Array, end_SE3_start: np.ndarray) -> Array:
    """Rodrigues' formula with the angle scaled per point."""
    axis, angle = _axis_angle(np.asarray(end_SE3_start, np.float64)[:3, :3])
    if angle == 0.0:
        return points
    xp = namespace(points)
    cross = points @ like(_cross_matrix(axis).T.copy(), points)
    twice = cross @ like(_cross_matrix(axis).T.copy(), points)
    return points + xp.sin(share * angle) * cross + (1.0 - xp.cos(share * angle)) * twice


def _axis_angle(rotation: np.ndarray) -> tuple[np.ndarray, float]:
    from scipy.spatial.transform import Rotation

    vector = Rotation.from_matrix(rotation).as_rotvec()
    angle = float(np.linalg.norm(vector))
    return (vector / angle if angle else vector), angle


def _cross_matrix(k: np.ndarray) -> np.ndarray:
    return np.array([[0.0, -k[2], k[1]], [k[2], 0.0, -k[0]], [-k[1], k[0], 0.0]])


def _check_rigid(pose: np.ndarray) -> None:
    pose = np.asarray(pose, np.float64)
    rigid = pose.shape == (4, 4) and np.all(np.isfinite(pose)) and np.allclose(pose[3], (0, 0, 0, 1))
    if not rigid or not np.allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-4):
        raise DataError(f"not a rigid transform: {pose.tolist()}", key="end_SE3_start", wanted="a (4, 4) pose")


def _cast(result: Array, template: Array) -> Array:
    return result.to(template.dtype) if is_tensor(template) else result.astype(np.asarray(template).dtype)
