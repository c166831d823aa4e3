"""Bird's-eye-view (BEV) metrics of sets of point clouds: Jensen-Shannon distance and MMD of histograms.

The settings are those of LiDARGen (Zyrianov et al. 2022, arXiv 2209.03954) and of R2DM (Nakashima and Kurazume 2024,
arXiv 2309.09256): 100 x 100 cells over 160 m x 160 m, points from 3 to 70 m, a Gaussian kernel of bandwidth 0.5 between
histograms that sum to 1, both means of the kernel over all pairs, a sample with itself included. Caveats:

* Histograms of 10,000 cells are much nearer to each other than 0.5, where the kernel is nearly a parabola: the MMD is
  then |mean histogram - mean histogram|^2 / bandwidth^2, and adds little to the Jensen-Shannon distance.
* Both are biased: two sets from the same source are not at 0, the farther the fewer the samples. Compare only
  numbers of the same n, and beside the number of one part of the recordings against another part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cosmos_lidar.errors import DataError

BANDWIDTH = 0.5


@dataclass(frozen=True)
class BevGrid:
    """Grid of a BEV histogram, centered on the sensor.

    Attributes:
        side_m: length of the sides of the square.
        cells: along each side.
        near_m: points nearer to the sensor than this, or at it, are ignored.
        far_m: points farther than this, or at it, are ignored.
    """

    side_m: float = 160.0
    cells: int = 100
    near_m: float = 3.0
    far_m: float = 70.0


def bev_histogram(points_m: np.ndarray, grid: BevGrid | None = None) -> np.ndarray:
    """Return the BEV histogram (cells, cells) float64, of sum 1; zeros for a cloud without points inside the grid.

    Args:
        points_m: (N, >=3) in the sensor frame: x along the first axis of the histogram, y along the second.
        grid: cells, those of LiDARGen by default.

    Raises:
        DataError: not such an array, or not finite.
    """
    grid = grid or BevGrid()
    points = np.asarray(points_m, np.float64)
    if points.ndim != 2 or points.shape[1] < 3 or not np.isfinite(points[:, :3]).all():
        raise DataError(f"points of shape {points.shape}", wanted="finite meters (N, 3)")
    distance_m = np.linalg.norm(points[:, :3], axis=1)
    inside = points[(distance_m > grid.near_m) & (distance_m < grid.far_m)]
    half = grid.side_m / 2.0
    counts, _, _ = np.histogram2d(inside[:, 0], inside[:, 1], grid.cells, [[-half, half], [-half, half]])
    return counts / max(counts.sum(), 1.0)


def jensen_shannon(first: np.ndarray, second: np.ndarray) -> float:
    """Return the Jensen-Shannon distance of two distributions: the square root of the divergence in nats.

    Between 0 and sqrt(ln 2) = 0.8326. The papers above print it as "JSD".

    Args:
        first: any shape, not negative; it is scaled to a sum of 1.
        second: of the same shape.

    Raises:
        DataError: empty histogram: no points inside the grid, or shapes that differ.
    """
    if np.shape(first) != np.shape(second):
        raise DataError(f"distributions of {np.shape(first)} and {np.shape(second)}", wanted="equal shapes")
    p, q = (np.asarray(values, np.float64).ravel() for values in (first, second))
    if p.sum() <= 0.0 or q.sum() <= 0.0:
        raise DataError("empty histogram: no points inside the grid", wanted="at least one point inside the grid")
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2.0
    divergence = 0.5 * (_relative_entropy(p, middle) + _relative_entropy(q, middle))
    return math.sqrt(max(divergence, 0.0))


class KernelMeans:
    """Squared maximum mean discrepancy of two sets (Gretton et al. 2012), for any number of resampled versions of them.

    All pairs are kept: (N + M)^2 float64, and N + M histograms.

    Args:
        first: (N, …) histograms that sum to 1.
        second: (M, …) likewise.
        bandwidth: sigma of exp(-|p - q|^2 / (2 sigma^2)).
    """

    def __init__(self, first: np.ndarray, second: np.ndarray, bandwidth: float = BANDWIDTH) -> None:
        self._first = len(first)
        rows = np.concatenate([np.asarray(x, np.float64).reshape(len(x), -1) for x in (first, second)])
        squares = np.sum(rows**2, axis=1)
        distances = np.maximum(squares[:, None] + squares[None] - 2.0 * (rows @ rows.T), 0.0)
        np.fill_diagonal(distances, 0.0)
        # kernel - 1: the ones of the three means cancel, and with them would go most digits of what is left
        self._kernel = np.expm1(-distances / (2.0 * bandwidth**2))

    def mmd(self, first_times: np.ndarray | None = None, second_times: np.ndarray | None = None) -> float:
        """Return the biased estimate, 0 for equal sets.

        Args:
            first_times: (N,) how often each sample counts; once by default.
            second_times: (M,) likewise.
        """
        count = len(self._kernel) - self._first
        first = np.ones(self._first) if first_times is None else np.asarray(first_times, np.float64)
        second = np.ones(count) if second_times is None else np.asarray(second_times, np.float64)
        weights = np.concatenate([first / first.sum(), -second / second.sum()])
        return max(float(weights @ self._kernel @ weights), 0.0)


def _relative_entropy(p: np.ndarray, q: np.ndarray) -> float:
    some = p > 0.0
    return float(np.sum(p[some] * np.log(p[some] / q[some])))
