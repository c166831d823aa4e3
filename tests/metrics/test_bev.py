from __future__ import annotations

import math

import numpy as np
import pytest

from cosmos_lidar.errors import DataError
from cosmos_lidar.metrics.bev import BevGrid, KernelMeans, bev_histogram, jensen_shannon


def cloud(seed: int, shift_m: float = 0.0, count: int = 400) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.c_[rng.normal(0, 15, (count, 2)) + [shift_m, 0], rng.normal(0, 1, count)]


def histograms(seeds: range, shift_m: float = 0.0) -> np.ndarray:
    return np.stack([bev_histogram(cloud(seed, shift_m)) for seed in seeds])


def test_histograms_count_what_is_inside_the_window_and_the_square():
    grid = BevGrid(side_m=40.0, cells=4, near_m=3.0, far_m=70.0)
    points = np.array([[5, 0.1, 0], [5, 0.2, 0], [-15, -15, 2], [2, 1, 0], [60, 0, 0], [3, 0, 0], [0, 12, 69.5]])
    found = bev_histogram(points, grid)
    wanted = np.zeros((4, 4))
    wanted[2, 2], wanted[0, 0] = 2, 1  # 60 m is outside the square; 2.2 m, 3 m and 70.5 m are outside the window
    assert np.array_equal(found, wanted / 3)
    assert bev_histogram(np.zeros((0, 3))).sum() == 0
    with pytest.raises(DataError, match=r"points of shape \(5, 2\).*\(N, 3\)"):
        bev_histogram(np.zeros((5, 2)))
    with pytest.raises(DataError, match="finite"):
        bev_histogram(np.full((5, 3), np.nan))


def test_jensen_shannon_against_scipy_and_its_limits():
    from scipy.spatial.distance import jensenshannon

    p, q = np.random.default_rng(0).random((2, 20))
    p[3] = q[5] = 0.0
    assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q), rel=1e-12)
    assert jensen_shannon(q, p) == jensen_shannon(p, q)
    assert jensen_shannon(p, 7 * p) == pytest.approx(0, abs=1e-8)
    assert jensen_shannon(np.array([1.0, 0]), np.array([0, 2.0])) == pytest.approx(math.sqrt(math.log(2)))
    with pytest.raises(DataError, match="empty histogram"):
        jensen_shannon(p, np.zeros(20))
    with pytest.raises(DataError, match=r"distributions of \(20,\) and \(19,\)"):
        jensen_shannon(p, q[1:])


def kernel_mean(first: np.ndarray, second: np.ndarray, bandwidth: float) -> float:
    """Mean of exp(-|p - q|^2 / (2 sigma^2)) over all pairs, one by one."""
    values = [math.exp(-float(np.sum((p - q) ** 2)) / (2 * bandwidth**2)) for p in first for q in second]
    return sum(values) / len(values)


@pytest.mark.parametrize("bandwidth", [0.5, 0.05])
def test_mmd_against_loops(bandwidth: float):
    first, second = histograms(range(4)), histograms(range(10, 15), shift_m=6.0)
    wanted = (kernel_mean(first, first, bandwidth) + kernel_mean(second, second, bandwidth)
              - 2 * kernel_mean(first, second, bandwidth))  # fmt: skip
    found = KernelMeans(first, second, bandwidth).mmd()
    assert found == pytest.approx(wanted, rel=1e-9)
    assert KernelMeans(second, first, bandwidth).mmd() == pytest.approx(found, rel=1e-12)
    assert KernelMeans(first, first[::-1], bandwidth).mmd() == pytest.approx(0, abs=1e-16)
    times = np.array([2, 0, 1, 1]), np.array([0, 1, 3, 1, 0])
    repeated = (np.repeat(x, n, axis=0) for x, n in zip((first, second), times, strict=True))
    drawn = KernelMeans(first, second, bandwidth).mmd(*times)
    assert drawn == pytest.approx(KernelMeans(*repeated, bandwidth).mmd(), rel=1e-9)


def test_at_the_published_bandwidth_mmd_is_a_distance_of_mean_histograms():
    """What the module says: histograms of 10,000 cells are far nearer to each other than the bandwidth."""
    first, second = histograms(range(20)), histograms(range(20, 40), shift_m=4.0)
    parabola = np.sum((first.mean(0) - second.mean(0)) ** 2) / 0.5**2
    assert KernelMeans(first, second).mmd() == pytest.approx(parabola, rel=0.02)


def test_both_fall_with_the_number_of_samples_and_grow_with_the_difference():
    for distance in (lambda a, b: jensen_shannon(a.sum(0), b.sum(0)), lambda a, b: KernelMeans(a, b).mmd()):
        few, many = (distance(histograms(range(n)), histograms(range(100, 100 + n))) for n in (4, 40))
        near, far = (distance(histograms(range(40)), histograms(range(100, 140), shift)) for shift in (3.0, 9.0))
        assert 0 < many < 0.6 * few  # the bias of small sets
        assert many < near < far
