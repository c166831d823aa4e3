from __future__ import annotations

import math

import numpy as np
import pytest

from cosmos_lidar.errors import DataError
from cosmos_lidar.metrics.ray_drop import ray_drop_counts, ray_drop_scores


def test_ray_drop_by_hand():
    recorded = np.array([[10.0, 20.0, 0.0, 0.0], [30.0, 0.0, 5.0, 8.0]])
    made = np.array([[11.0, 0.0, 7.0, 0.0], [29.0, 0.0, 6.0, 0.0]])
    counts = ray_drop_counts(recorded, made)
    assert counts.tolist() == [3, 1, 2]
    found = ray_drop_scores(counts)
    assert (found.precision, found.recall) == (3 / 4, 3 / 5)
    assert found.f1 == pytest.approx(2 * 0.75 * 0.6 / 1.35)
    assert found.iou == 3 / 6
    assert ray_drop_scores(ray_drop_counts(recorded, recorded)) == ray_drop_scores(np.array([5.0, 0, 0]))
    assert math.isnan(ray_drop_scores(np.zeros(3)).precision)
    with pytest.raises(DataError, match=r"range maps of \(2, 4\) and \(2, 3\)"):
        ray_drop_counts(recorded, made[:, :3])
