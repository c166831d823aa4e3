"""Outlier removal: isolated points, and points smeared between surfaces."""

from __future__ import annotations

import numpy as np

from cosmos_lidar.errors import UserError


def statistical_inliers(points: np.ndarray, neighbors: int = 20, ratio: float = 1.0) -> np.ndarray:
    """Return (N,) bool: which points are inliers by their mean distance to their neighbors.

    The mean distance m of a point to its nearest neighbors, itself counted as one of them, must be positive and below
    mu + ratio s, with mu and s the mean and standard deviation of all m (as Open3D's statistical outlier removal).

    Args:
        points: (N, 3) meters.
        neighbors: their number.
        ratio: of the standard deviation.

    Raises:
        UserError: fewer than 2 neighbors, or a ratio that is not positive.
    """
    from scipy.spatial import cKDTree

    if neighbors < 2 or ratio <= 0:
        raise UserError(f"{neighbors} neighbors, ratio {ratio}: at least 2, and above 0")
    if len(points) < 3:
        return np.ones(len(points), bool)
    count = min(neighbors, len(points))
    mean = cKDTree(points).query(points, count)[0].sum(-1) / count
    positive = mean > 0
    mu = mean[positive].sum() / len(points)
    deviation = np.sqrt(np.square(mean[positive] - mu).sum() / (len(points) - 1))
    return positive & (mean < mu + ratio * deviation)


def without_edges(range_m: np.ndarray, ratio: float) -> np.ndarray:
    """Return a range map without the pixels next to jumps, which decoders smear between near and far.

    A pixel is removed where one of its two neighbors in the row is farther, or nearer, by more than the ratio.

    Args:
        range_m: (rows, columns) meters of a whole revolution, 0 = no return.
        ratio: of neighboring ranges, above 1.

    Raises:
        UserError: a ratio of 1 or less.
    """
    if ratio <= 1:
        raise UserError(f"edges at a ratio of {ratio}: above 1, such as 1.1")
    jumps = np.zeros(range_m.shape, bool)
    for shift in (1, -1):
        neighbor = np.roll(range_m, shift, axis=1)
        jumps |= (neighbor > range_m * ratio) | ((neighbor > 0) & (neighbor * ratio < range_m))
    return np.where(jumps, np.float32(0.0), range_m)
