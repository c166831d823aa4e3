"""Frechet distance of two sets of feature vectors, modeled as Gaussians (Frechet 1957, Heusel et al. 2017).

d = |m1 - m2|^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2)). It is biased: for sets from one and the same distribution it is not
zero but falls roughly as 1 / n, the slower the longer the vectors. Only numbers of equal n may be compared, and a set
should have several times more samples than a vector has values.
"""

from __future__ import annotations

import numpy as np

from cosmos_lidar.errors import DataError
from cosmos_lidar.metrics.protocol import Protocol

DEFINITION = (
    "squared distance of the means plus trace(C1 + C2 - 2 sqrt(C1 C2)) of the feature vectors of two sets, covariances "
    "over n - 1, in float64"
)


class FeatureStatistics:
    """Mean and covariance of feature vectors, in float64, over any number of batches and ranks.

    Batches are joined by the update of Chan, Golub and LeVeque (1979), which loses no digits to large means.

    Args:
        source: name of the feature extractor; statistics of different sources do not mix.

    Attributes:
        count: vectors so far.
        mean: (D,).
        scatter: (D, D), sum of the products of deviations from the mean.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.count = 0
        self.mean, self.scatter = np.zeros(0), np.zeros((0, 0))

    def add(self, features: np.ndarray) -> None:
        """Add vectors.

        Args:
            features: (B, D).

        Raises:
            DataError: not of two dimensions, of another length than before, or not finite.
        """
        features = np.asarray(features, np.float64)
        if features.ndim != 2 or not np.isfinite(features).all():
            raise DataError(f"features of {features.shape}", wanted="finite numbers (B, D)")
        if not len(features):
            return
        batch = FeatureStatistics(self.source)
        batch.count, batch.mean = len(features), features.mean(0)
        deviations = features - batch.mean
        batch.scatter = deviations.T @ deviations
        self.merge(batch)

    def merge(self, other: FeatureStatistics) -> None:
        """Add the vectors of another accumulator, such as that of another rank.

        Raises:
            DataError: its vectors have another source or length.
        """
        _check_same(self, other)
        if not other.count:
            return
        if not self.count:
            self.count, self.mean, self.scatter = other.count, other.mean.copy(), other.scatter.copy()
            return
        count, shift = self.count + other.count, other.mean - self.mean
        self.scatter = self.scatter + other.scatter + np.outer(shift, shift) * (self.count * other.count / count)
        self.mean = self.mean + shift * (other.count / count)
        self.count = count

    @property
    def covariance(self) -> np.ndarray:
        """(D, D), over count - 1."""
        return self.scatter / (self.count - 1)


def frechet_distance(first: FeatureStatistics, second: FeatureStatistics) -> float:
    """Return the squared Frechet distance of two sets; at least two vectors each.

    Raises:
        DataError: features of different sources or lengths, or fewer than two.
    """
    _check_same(first, second)
    if min(first.count, second.count) < 2:
        raise DataError(f"{first.count} and {second.count} feature vectors", wanted="two or more in each set")
    return _distance(first.mean, _root(first.covariance), second.mean, _root(second.covariance))


def frechet_of_weighted(first: np.ndarray, second: np.ndarray, draws: tuple[np.ndarray, np.ndarray]) -> float:
    """Return the distance of two sets with multiplicities of the vectors.

    Args:
        first: (N, D).
        second: (M, D).
        draws: (N,) and (M,), multiplicity of each vector.
    """
    parts = []
    for features, times in zip((first, second), draws, strict=True):
        features, times = np.asarray(features, np.float64), np.asarray(times, np.float64)
        mean = times @ features / times.sum()
        factor = (features - mean) * np.sqrt(times / (times.sum() - 1.0))[:, None]
        parts += [mean, factor if len(factor) <= factor.shape[1] else _root(factor.T @ factor)]
    return _distance(*parts)


def frechet_protocol(metric: str, source: str) -> Protocol:
    """Return the protocol of a distance: its definition and the source of the features."""
    return Protocol(metric, DEFINITION, {"features": source})


def _distance(mean: np.ndarray, factor: np.ndarray, other_mean: np.ndarray, other_factor: np.ndarray) -> float:
    """Return the distance for factors F with covariance F^T F: then trace sqrt(C1 C2) is the nuclear norm of F1 F2^T.

    Without a product of covariances, whose small eigenvalues are lost to rounding, nothing turns negative or complex.
    """
    overlap = np.linalg.svd(factor @ other_factor.T, compute_uv=False).sum()
    spread = np.sum(factor**2) + np.sum(other_factor**2) - 2.0 * overlap
    return max(float(np.sum((mean - other_mean) ** 2) + spread), 0.0)


def _root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    return np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T


def _check_same(first: FeatureStatistics, second: FeatureStatistics) -> None:
    if first.source != second.source:
        raise DataError(f"features of {first.source} and of {second.source}", wanted="both of the same network")
    if first.count and second.count and len(first.mean) != len(second.mean):
        raise DataError(f"features of length {len(first.mean)} and {len(second.mean)}", wanted="equal lengths")
