"""Intersection over union (IoU) of semantic classes: one confusion matrix of all points; labels of all points."""

from __future__ import annotations

import numpy as np

from cosmos_lidar.errors import DataError


class ConfusionMatrix:
    """Counts of points by true class (row) and predicted class (column), over any number of sweeps and ranks.

    Args:
        classes: number of classes; class 0 is ignored, see ``counted``.
        ignore: class whose row and column count nothing; None: all count.

    Attributes:
        counts: (classes, classes) int64 of all points, those of the ignored class too.
    """

    def __init__(self, classes: int, ignore: int | None = 0) -> None:
        self.counts, self.ignore = np.zeros((classes, classes), np.int64), ignore

    def add(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Count points.

        Args:
            truth: (N,) integers, classes.
            predicted: (N,) integers, classes.

        Raises:
            DataError: of different lengths, or classes that there are not.
        """
        if truth.shape != predicted.shape or truth.ndim != 1:
            raise DataError(f"classes of shape {predicted.shape} for {truth.shape} points", wanted="(N,) both")
        size = len(self.counts)
        for name, values in (("true", truth), ("predicted", predicted)):
            if values.size and not 0 <= int(values.min()) <= int(values.max()) < size:
                found = f"{name} classes from {values.min()} to {values.max()}"
                raise DataError(found, wanted=f"0 to {size - 1}")
        pairs = truth.astype(np.int64) * size + predicted
        self.counts += np.bincount(pairs, minlength=size * size).reshape(size, size)

    def merge(self, other: ConfusionMatrix) -> None:
        """Add the points of another matrix of the same classes."""
        self.counts += other.counts

    @property
    def counted(self) -> np.ndarray:
        """(classes, classes) int64 counts without row and column of the ignored class."""
        counts = self.counts.copy()
        if self.ignore is not None:
            counts[self.ignore] = counts[:, self.ignore] = 0
        return counts

    def iou(self) -> np.ndarray:
        """Return (classes,) float64 TP / (TP + FP + FN); NaN of classes that are neither there nor predicted."""
        counts = self.counted
        hits = np.diag(counts).astype(np.float64)
        union = counts.sum(0) + counts.sum(1) - hits
        return np.divide(hits, union, out=np.full(len(counts), np.nan), where=union > 0)

    def mean_iou(self) -> float:
        """Return the mean IoU (mIoU) of the classes that have one; NaN without any."""
        iou = self.iou()
        return float(np.nanmean(iou)) if np.isfinite(iou).any() else float("nan")

    def frequency_iou(self) -> float:
        """Return the IoU weighted by the points of each true class (fIoU); NaN without points."""
        counts = self.counted
        total = counts.sum()
        return float((counts.sum(1) * np.nan_to_num(self.iou())).sum() / total) if total else float("nan")

    def accuracy(self) -> float:
        """Return the share of points whose class is right; NaN without points."""
        counts = self.counted
        return float(np.trace(counts) / counts.sum()) if counts.sum() else float("nan")


def spread_labels(points: np.ndarray, labels: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the labels of all points of a sweep: each has that of the nearest point that the network was given.

    Args:
        points: (N, 3) meters, that were given.
        labels: (N,) of them.
        wanted: (M, 3) meters, all points of the sweep.

    Raises:
        DataError: no points, or labels of another number.
    """
    from scipy.spatial import cKDTree

    if not len(points) or len(labels) != len(points):
        raise DataError(f"{len(labels)} labels of {len(points)} points", wanted="one label per point, at least one")
    return labels[cKDTree(points).query(wanted)[1]]
