import math

import numpy as np
import pytest

from cosmos_lidar.metrics.lidar import RangeProtocol
from cosmos_lidar.metrics.pairs import RangePair
from cosmos_lidar.metrics.range_psnr import METRIC

LIMITS = RangeProtocol(min_range_m=10.0, max_range_m=60.0)


def test_ranges_are_clipped_and_scaled_by_the_limits():
    accumulator = METRIC.start(LIMITS)
    accumulator.add(RangePair(np.array([0.0, 90.0, 30.0, 30.0]), np.array([10.0, 60.0, 35.0, 30.0])))
    assert accumulator.result()["psnr_db"] == pytest.approx(10 * math.log10(4 / 0.01))


def test_pixels_are_pooled_over_accumulators():
    first, second = METRIC.start(LIMITS), METRIC.start(LIMITS)
    first.add(RangePair(np.full(3, 30.0), np.full(3, 30.0)))
    assert first.result()["psnr_db"] == math.inf
    assert first.document()["psnr_db"] is None
    second.add(RangePair(np.full(1, 30.0), np.full(1, 40.0)))
    first.merge(second)
    assert first.result()["psnr_db"] == pytest.approx(20.0)


def test_no_pixels_have_no_value():
    assert math.isnan(METRIC.start(LIMITS).result()["psnr_db"])
