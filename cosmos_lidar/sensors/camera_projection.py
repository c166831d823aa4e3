"""Projection of points into a camera image, with occlusion by nearer points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosmos_lidar.errors import UserError
from cosmos_lidar.sensors.ftheta import FThetaCamera
from cosmos_lidar.sensors.pinhole import PinholeCamera


@dataclass(frozen=True)
class InImage:
    """Projected points of a camera image.

    Attributes:
        uv: (N, 2) pixels, column and row; NaN outside the lens's field of view.
        depth: (N,) meters along the optical axis (pinhole) or from the lens (f-theta).
        inside: (N,) bool, in front of the camera and within the image.
        visible: (N,) bool, inside and not occluded.
    """

    uv: np.ndarray
    depth: np.ndarray
    inside: np.ndarray
    visible: np.ndarray


def project_to_image(
    points_camera: np.ndarray,
    model: PinholeCamera | FThetaCamera,
    reach_px: float | None = None,
    tolerance: float = 0.1,
) -> InImage:
    """Project points into an image and find the occluded ones.

    A point is occluded where others within about ``reach_px``, above and below it, are nearer by more than the
    tolerance: lidar points are too sparse to cover what they lie on, so that each stands for its surroundings.

    Args:
        points_camera: (N, 3) meters, camera axes (x right, y down, z forward).
        model: the lens.
        reach_px: how far a point occludes others; None for 1 / 100 of the image's width.
        tolerance: fraction of its distance by which a point may lie behind another and still be visible.

    Raises:
        UserError: a reach or tolerance that is not positive.
    """
    reach_px = max(model.width / 100.0, 1.0) if reach_px is None else reach_px
    if reach_px <= 0 or tolerance <= 0:
        raise UserError(f"reach of {reach_px} pixels, tolerance {tolerance}: both must be positive")
    uv, depth = model.project(np.asarray(points_camera, np.float64))
    inside = _inside(uv, depth, model)
    visible = np.zeros(len(uv), bool)
    distance = np.linalg.norm(points_camera, axis=-1)
    visible[inside] = _unhidden(uv[inside], distance[inside], (model.height, model.width), reach_px, tolerance)
    return InImage(uv, depth, inside, visible)


def in_image(points_camera: np.ndarray, model: PinholeCamera | FThetaCamera) -> np.ndarray:
    """Return (N,) bool: which points (N, 3), camera axes, lie in front of the camera and within the image."""
    return _inside(*model.project(np.asarray(points_camera, np.float64)), model)


def _inside(uv: np.ndarray, depth: np.ndarray, model: PinholeCamera | FThetaCamera) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        within = (uv > -0.5).all(-1) & (uv[:, 0] < model.width - 0.5) & (uv[:, 1] < model.height - 0.5)
    return np.asarray(within & (depth > 0))


def _unhidden(
    uv: np.ndarray, distance: np.ndarray, size: tuple[int, int], reach: float, tolerance: float
) -> np.ndarray:
    """Return which points are not occluded by the nearest ones in cells of ``reach`` pixels above and below them.

    A point is occluded if others are nearer on both sides: the road, nearer only below, does not occlude itself.
    """
    rows, columns = (int(side / reach) + 1 for side in size)
    row, column = (np.floor((uv[:, axis] + 0.5) / reach).astype(int) for axis in (1, 0))
    nearest = np.full((rows + 2, columns + 2), np.inf)
    np.minimum.at(nearest, (row + 1, column + 1), distance)
    beside = np.min([nearest[:, across : columns + across] for across in range(3)], axis=0)
    above, below = beside[:rows], np.minimum(beside[1:-1], beside[2:])
    return distance <= np.maximum(above, below)[row, column] * (1.0 + tolerance)
