"""Mounting of a spinning lidar, estimated from one sweep in axes of the vehicle: seen from it, rings are cones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_SAMPLE = 4000
_ENOUGH_RINGS, _ENOUGH_POINTS = 8, 20
_HEIGHTS_M = (1.5, 0.0, 3.0)  # where the search starts
_FARTHEST_M, _STEEPEST_RAD = 6.0, math.radians(30.0)
_LARGEST_DEVIATION_RAD = math.radians(0.15)
_NOISE_RAD, _UNSURE_M = math.radians(0.02), 0.01
_OUTLIER_RAD = math.radians(0.1)


@dataclass(frozen=True, eq=False)
class FittedMounting:
    """A mounting, and how well it describes the sweep.

    Attributes:
        body_SE3_lidar: (4, 4) lidar to body axes. The turn about the axis of rotation cannot be seen in elevations; the
            lidar is taken to look where the body does.
        deviation_rad: median difference between the elevation of a point and that of its ring.
    """

    body_SE3_lidar: np.ndarray
    deviation_rad: float


def fit_mounting(points: np.ndarray, ring: np.ndarray) -> FittedMounting | None:
    """Return the place and the tilt from which each ring has one elevation; None where that is not determined.

    Five numbers are fitted by least squares. Points that all lie on level ground, for example, do not determine them:
    their rings are circles from any height.

    Args:
        points: (N, 3) meters in axes of the body (x forward, y left, z up).
        ring: (N,) number of the beam.
    """
    points, group = _sample(np.asarray(points, np.float64), np.asarray(ring))
    if not len(points):
        return None
    for height in _HEIGHTS_M:
        values, deviation, unsure = _search(points, group, height)
        inside = np.linalg.norm(values[2:]) <= _FARTHEST_M and np.abs(values[:2]).max() <= _STEEPEST_RAD
        if inside and deviation <= _LARGEST_DEVIATION_RAD and unsure <= _UNSURE_M:
            return FittedMounting(_pose(values), deviation)
    return None


def _sample(points: np.ndarray, ring: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return evenly chosen points of rings with enough of them, and the place of their ring among those."""
    if len(points) > _SAMPLE:
        chosen = np.linspace(0, len(points) - 1, _SAMPLE).astype(int)
        points, ring = points[chosen], ring[chosen]
    _, group, counts = np.unique(ring, return_inverse=True, return_counts=True)
    many = counts >= _ENOUGH_POINTS
    if many.sum() < _ENOUGH_RINGS:
        return points[:0], group[:0]
    kept = many[group]
    return points[kept], (np.cumsum(many) - 1)[group[kept]]


def _search(points: np.ndarray, group: np.ndarray, height_m: float) -> tuple[np.ndarray, float, float]:
    """Return roll, pitch, x, y, z; the median deviation; and the standard deviation of the place, meters."""
    from scipy.optimize import least_squares

    counts = np.bincount(group)

    def deviations(values: np.ndarray) -> np.ndarray:
        seen = (points - values[2:]) @ _pose(values)[:3, :3]
        elevation = np.arctan2(seen[:, 2], np.hypot(seen[:, 0], seen[:, 1]))
        return elevation - (np.bincount(group, elevation) / counts)[group]

    start = np.array([0.0, 0.0, 0.0, 0.0, height_m])
    found = least_squares(deviations, start, loss="soft_l1", f_scale=_OUTLIER_RAD, x_scale=[0.01, 0.01, 1, 1, 1])
    deviation = float(np.median(np.abs(deviations(found.x))))
    spread = np.linalg.pinv(found.jac.T @ found.jac) * max(deviation, _NOISE_RAD) ** 2
    lost = np.linalg.matrix_rank(found.jac) < 5
    return found.x, deviation, math.inf if lost else float(np.sqrt(np.diag(spread)[2:].max()))


def _pose(values: np.ndarray) -> np.ndarray:
    (sin_roll, sin_pitch), (cos_roll, cos_pitch) = np.sin(values[:2]), np.cos(values[:2])
    pose = np.eye(4)
    pose[:3, :3] = [
        [cos_pitch, sin_pitch * sin_roll, sin_pitch * cos_roll],
        [0.0, cos_roll, -sin_roll],
        [-sin_pitch, cos_pitch * sin_roll, cos_pitch * cos_roll],
    ]
    pose[:3, 3] = values[2:]
    return pose
