from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips import Sweep
from cosmos_lidar.clips.sweep_counts import count_sweep, statistics_of


def test_range_images_are_counted_by_their_pixels(make_clip):
    stream = make_clip().lidar
    range_m = np.zeros(stream.sensor.shape, np.float32)
    range_m[:4, :10], range_m[0, 0] = 7.0, 9.0
    second = np.zeros_like(range_m)
    second[1, 1] = 20.0
    one = count_sweep(stream, Sweep(range_m=range_m, second_return=Sweep(range_m=second)), 0)
    assert (len(one.ranges), one.returns, one.columns, one.points, one.dropped) == (40, 41, 10, 0, 0)
    statistics = statistics_of([one], stream)
    assert statistics.valid_share == pytest.approx(40 / range_m.size)
    assert statistics.range_quantiles_m[:2] == (7.0, 7.0)
    assert statistics.dropped_share is None
    assert statistics_of([], stream) is None


def test_points_outside_and_behind_others_are_counted(make_clip):
    stream = make_clip().lidar
    points = np.array([[10, 0, 0], [20, 0, 0], [0, 0, 10], [0, 0, 20], [0, 1, 20]], np.float32)
    one = count_sweep(stream, Sweep(points=points), 0)
    assert (len(one.ranges), one.points, one.dropped) == (1, 5, 3)
    statistics = statistics_of([one], stream)
    assert statistics.dropped_share == pytest.approx(0.6)
    assert statistics.hidden_share == pytest.approx(0.2)
