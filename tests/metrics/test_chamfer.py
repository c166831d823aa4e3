import math

import numpy as np
import pytest

from cosmos_lidar.metrics.chamfer import METRIC, chamfer_distance
from cosmos_lidar.metrics.pairs import RangePair


def test_chamfer_by_hand():
    reference = np.array([[10.0, 0, 0], [20.0, 0, 0]])
    moved = np.array([[10.0, 1.0, 0], [20.0, 0, 0], [30.0, 0, 0]])
    result = chamfer_distance(reference, moved)
    assert result.forward_m == pytest.approx(0.5)
    assert result.backward_m == pytest.approx(11 / 3)
    assert result.chamfer_m == pytest.approx(0.5 + 11 / 3)
    assert result.chamfer_squared_m2 == pytest.approx(0.5 + 101 / 3)


def test_chamfer_is_exact_and_windowed():
    generator = np.random.default_rng(3)
    first, second = generator.normal(0, 30, (300, 3)), generator.normal(0, 30, (250, 3))
    distances = [np.linalg.norm(points, axis=1) for points in (first, second)]
    inside = [(distance >= 5) & (distance <= 65) for distance in distances]
    keep = first[inside[0]], second[inside[1]]
    table = np.linalg.norm(keep[0][:, None] - keep[1][None], axis=-1)
    result = chamfer_distance(first, second)
    assert result.forward_m == pytest.approx(table.min(axis=1).mean())
    assert result.backward_m == pytest.approx(table.min(axis=0).mean())
    assert (result.reference_points, result.reconstructed_points) == table.shape


def test_chamfer_of_nothing_is_not_a_number():
    result = chamfer_distance(np.zeros((0, 3)), np.ones((4, 3)), window_m=None)
    assert math.isnan(result.chamfer_m)
    assert result.reconstructed_points == 4


def test_the_metric_averages_frames_with_points_and_counts_the_others():
    near, far, none = np.array([[10.0, 0, 0]]), np.array([[11.0, 0, 0]]), np.zeros((0, 3))
    accumulator, other = METRIC.start(None), METRIC.start(None)
    accumulator.add(RangePair(near, near, points=lambda: (near, far)))
    other.add(RangePair(near, near, points=lambda: (near, near)))
    other.add(RangePair(near, near, points=lambda: (near, none)))
    accumulator.merge(other)
    assert accumulator.result() == {"chamfer_mean_m": 1.0}
    document = accumulator.document()["chamfer"]
    assert (document["frames"], document["frames_without_points"], document["best_m"]) == (2, 1, 0.0)
    with pytest.raises(ValueError, match="no points to compare"):
        accumulator.add(RangePair(near, near))
