from __future__ import annotations

import math

import numpy as np
import pytest

from cosmos_lidar.metrics.bootstrap import (
    bootstrap_mean,
    bootstrap_over_clips,
    interval_of_draws,
    mean_difference,
    resample_clips,
)
from cosmos_lidar.metrics.lidar import RangeErrors


def test_whole_clips_are_drawn():
    clips = ["b", "a", "b", "c"]
    draws = resample_clips(clips, samples=500, seed=1)
    assert draws.shape == (500, 4)
    assert (draws[:, 0] == draws[:, 2]).all()
    assert (draws[:, [0, 1, 3]].sum(1) == 3).all()
    assert draws.mean(0) == pytest.approx(np.ones(4), abs=0.15)
    assert np.array_equal(draws, resample_clips(clips, samples=500, seed=1))
    assert resample_clips(["a", "a"]).shape == (0, 2)


def test_intervals_are_put_around_a_distance_and_not_below_zero():
    values = np.linspace(1.0, 3.0, 201)
    plain, centered = interval_of_draws(values), interval_of_draws(values, around=0.5)
    assert (plain.low, plain.high) == pytest.approx((1.05, 2.95))
    assert (centered.low, centered.high) == pytest.approx((0.0, 1.45))
    assert math.isnan(interval_of_draws([]).low)
    assert interval_of_draws([1.0, math.nan, 1.0]) == interval_of_draws([1.0])


def test_differences_of_the_same_samples_are_narrower_than_their_means():
    """Drives that differ by far more than two ways of making them: the difference is certain, the means are not."""
    rng = np.random.default_rng(0)
    hard = rng.uniform(0, 10, 40)
    clips, first = [f"drive_{i // 2}" for i in range(40)], hard + rng.normal(0, 0.1, 40)
    second = hard + 0.5 + rng.normal(0, 0.1, 40)
    value, interval = mean_difference(clips, first, second)
    assert value == pytest.approx(np.mean(first - second))
    assert interval.low < value < interval.high < -0.4
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * 0.14 / np.sqrt(40), rel=0.4)
    gap = np.r_[first[:-2], math.nan, math.nan]
    assert mean_difference(clips, gap, second)[0] == pytest.approx(np.mean(first[:-2] - second[:-2]))
    assert math.isnan(mean_difference(["one"] * 40, first, second)[1].low)
    assert math.isnan(mean_difference(clips, [math.nan] * 40, second)[0])


def _random_pair(seed: int, shape: tuple[int, ...] = (3, 16, 40)) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    reference = generator.uniform(0.0, 110.0, shape).astype(np.float32)
    reference[generator.random(shape) < 0.2] = 0.0
    return reference, np.clip(reference + generator.normal(0.0, 2.0, shape), 5.0, 100.0).astype(np.float32)


def test_bootstrap_brackets_the_pooled_value_and_needs_two_clips():
    clips = []
    for seed in range(6):
        clips.append(RangeErrors())
        clips[-1].add(*_random_pair(seed))
    pooled = RangeErrors()
    for clip in clips:
        pooled.merge(clip)
    interval = bootstrap_over_clips(clips)["rmse_m"]
    assert interval.low < pooled.result().published.rmse_m < interval.high
    assert interval == bootstrap_over_clips(clips)["rmse_m"]
    assert bootstrap_over_clips(clips[:1]) == {}


def test_interval_of_a_mean_is_that_of_the_normal_law_for_many_clips():
    values = np.random.default_rng(2).normal(3.0, 2.0, 400)
    low, high = bootstrap_mean(values.tolist())
    error = values.std() / math.sqrt(400)
    assert (low, high) == pytest.approx((values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.35 * error)
    assert bootstrap_mean(values.tolist()) == (low, high)
    assert bootstrap_mean([1.0]) is None
    assert bootstrap_mean([4.0, 4.0, 4.0]) == (4.0, 4.0)
