"""What metrics are given: nothing is computed before a metric asks for it, and every pair stays as it was made."""

import dataclasses

import numpy as np
import pytest

from cosmos_lidar.metrics import Scores
from cosmos_lidar.metrics.pairs import RangePair


def test_points_are_made_only_for_metrics_that_use_them():
    def points():
        asked.append(1)
        return np.full((2, 3), 5.0), np.full((2, 3), 6.0)

    asked: list[int] = []
    pair = RangePair(np.full((1, 2), 10.0), np.full((1, 2), 11.0), points=points)
    Scores("validation", "ranges", points=True).add(pair)
    assert not asked
    scores = Scores("evaluate", "ranges", points=True)
    scores.add(pair)
    assert len(asked) == 1
    assert scores.result()["chamfer_mean_m"] == pytest.approx(2 * 3**0.5)


def test_a_metric_cannot_change_what_the_next_one_sees():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RangePair(np.zeros(1), np.zeros(1)).made_m = np.ones(1)
