"""The outlier filter against numbers of Open3D."""

from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.metrics.outliers import statistical_inliers, without_edges


def test_the_same_points_as_open3d():
    """400 points; 20 neighbors, ratio 1: numbers of Open3D 0.20."""
    i = np.arange(400)
    points = np.stack([10 * np.sin(0.7 * i) + 0.01 * i, 10 * np.cos(0.3 * i), np.sin(0.05 * i)], -1)
    points[7] += (30, 0, 5)
    points[99] += (0, -25, 0)
    points[200] = points[201]
    kept = statistical_inliers(points)
    assert np.flatnonzero(~kept).tolist() == [7, 16, 25, 99, 153, 162, 215, 224, 350, 361]
    assert np.flatnonzero(kept).sum() == 78188


def test_few_points_and_nonsense():
    assert statistical_inliers(np.zeros((0, 3))).shape == (0,)
    assert statistical_inliers(np.random.default_rng(0).normal(size=(5, 3))).any()
    with pytest.raises(UserError, match="1 neighbors, ratio 1.0: at least 2, and above 0"):
        statistical_inliers(np.zeros((9, 3)), neighbors=1)


def test_pixels_between_near_and_far_are_taken_out_and_slopes_stay():
    row = np.array([10.0, 10.2, 14.0, 20.0, 20.5, 0.0, 20.5, 10.4], np.float32)
    found = without_edges(np.stack([row, np.full(8, 5.0, np.float32)]), 1.1)
    assert found[0].tolist() == pytest.approx([10.0, 0, 0, 0, 20.5, 0, 0, 0])  # a turn: the last lies beside the first
    assert (found[1] == 5).all()
    with pytest.raises(UserError, match="edges at a ratio of 1.0: above 1"):
        without_edges(np.ones((2, 2)), 1.0)
