import numpy as np
import pytest

from cosmos_lidar.metrics.lidar import RangeErrors, RangeProtocol
from cosmos_lidar.metrics.pairs import RangePair
from cosmos_lidar.metrics.range_errors import METRIC

LIMITS = RangeProtocol(max_range_m=80.0)


def test_columns_and_document_are_those_of_the_pooled_errors():
    rng = np.random.default_rng(0)
    recorded, made = rng.uniform(6, 79, (2, 4, 16)), rng.uniform(6, 79, (2, 4, 16))
    recorded[:, 0, :4] = 0.0
    first, second, direct = METRIC.start(LIMITS), METRIC.start(LIMITS), RangeErrors(LIMITS)
    for accumulator, index in ((first, 0), (second, 1)):
        accumulator.add(RangePair(recorded[index], made[index]))
        direct.add(recorded[index], made[index])
    first.merge(second)
    expected = direct.result()
    assert first.result()["rmse_m"] == expected.published.rmse_m
    assert first.result()["drop_recall"] == expected.ray_drop.recall
    assert set(METRIC.columns["evaluate"]) == set(first.result())
    assert first.document() == expected.to_dict()


def test_only_valid_pixels_are_compared():
    accumulator = METRIC.start(LIMITS)
    valid = np.array([True, False])
    accumulator.add(RangePair(np.array([20.0, 20.0]), np.array([21.0, 50.0]), valid))
    assert accumulator.result()["mae_m"] == pytest.approx(1.0)


def test_other_constants_are_not_merged():
    with pytest.raises(ValueError, match="protocols differ"):
        METRIC.start(LIMITS).merge(METRIC.start(RangeProtocol()))
