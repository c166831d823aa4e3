from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.errors import DataError
from cosmos_lidar.metrics.frechet import FeatureStatistics, frechet_distance, frechet_of_weighted


def gaussian(count: int, mean: np.ndarray, root: np.ndarray, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, len(mean))) @ root + mean


def statistics(features: np.ndarray, parts: int = 1) -> FeatureStatistics:
    made = FeatureStatistics("test")
    for part in np.array_split(features, parts):
        made.add(part)
    return made


def test_statistics_are_those_of_all_vectors_at_once_however_they_come():
    features = gaussian(97, np.array([1e6, -3.0, 0.0]), np.diag([1.0, 2.0, 0.5]))
    whole, pieces, merged = statistics(features), statistics(features, 10), statistics(features[:40])
    merged.merge(statistics(features[40:]))
    for found in (whole, pieces, merged):
        assert found.count == 97
        assert np.allclose(found.mean, features.mean(0), rtol=1e-14)
        assert np.allclose(found.covariance, np.cov(features, rowvar=False), rtol=1e-7, atol=1e-9)
    empty = FeatureStatistics("test")
    empty.merge(whole)
    empty.merge(FeatureStatistics("test"))
    assert empty.count == whole.count
    assert np.array_equal(empty.mean, whole.mean)
    assert np.array_equal(empty.scatter, whole.scatter)


def exact(mean: np.ndarray, covariance: np.ndarray) -> FeatureStatistics:
    """Statistics of an ideal Gaussian."""
    made = FeatureStatistics("test")
    made.count, made.mean, made.scatter = 11, np.asarray(mean, float), np.asarray(covariance, float) * 10
    return made


def test_distances_of_known_gaussians():
    one = exact([0, 0], np.diag([1.0, 4.0]))
    assert frechet_distance(one, exact([3, 4], np.diag([1.0, 4.0]))) == pytest.approx(25)
    # for covariances that commute: sum of (sigma1 - sigma2)^2
    assert frechet_distance(one, exact([0, 0], np.diag([9.0, 1.0]))) == pytest.approx((1 - 3) ** 2 + (2 - 1) ** 2)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(one, exact([0, 0], np.zeros((2, 2)))) == pytest.approx(5)  # a point: trace of the other


def test_distance_against_the_matrix_square_root():
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(3)
    first, second = (gaussian(60, rng.normal(size=6), rng.normal(size=(6, 6)), seed) for seed in (1, 2))
    c1, c2 = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    shift = first.mean(0) - second.mean(0)
    wanted = shift @ shift + np.trace(c1 + c2 - 2 * sqrtm(c1 @ c2).real)
    found = frechet_distance(statistics(first), statistics(second))
    assert found == pytest.approx(wanted, rel=1e-8)
    assert frechet_distance(statistics(second), statistics(first)) == pytest.approx(found, rel=1e-10)
    once = (np.ones(60), np.ones(60))
    assert frechet_of_weighted(first, second, once) == pytest.approx(wanted, rel=1e-8)
    few = (first[:4], second[:5])  # fewer vectors than values
    drawn = frechet_of_weighted(*few, (np.array([1, 2, 0, 1]), np.ones(5)))
    repeated = statistics(first[[0, 1, 1, 3]])
    assert drawn == pytest.approx(frechet_distance(repeated, statistics(second[:5])), rel=1e-8)


def test_the_bias_of_small_sets_falls_with_their_size():
    """What the module says of itself: equal distributions are not at distance 0."""
    found = []
    for count in (50, 200, 800):
        sets = (gaussian(count, np.zeros(16), np.eye(16), seed) for seed in (1, 2))
        found.append(frechet_distance(*(statistics(features) for features in sets)))
    assert found[0] > 2.5 * found[1] > 6 * found[2] > 0


def test_features_that_do_not_belong_together_are_refused():
    first = statistics(np.zeros((3, 2)))
    other = FeatureStatistics("another network")
    other.add(np.zeros((3, 2)))
    with pytest.raises(DataError, match="features of test and of another network"):
        frechet_distance(first, other)
    with pytest.raises(DataError, match="features of length 2 and 3"):
        frechet_distance(first, statistics(np.zeros((3, 3))))
    with pytest.raises(DataError, match="3 and 1 feature vectors"):
        frechet_distance(first, statistics(np.zeros((1, 2))))
    with pytest.raises(DataError, match=r"features of \(2, 2\).*finite"):
        first.add(np.full((2, 2), np.nan))
