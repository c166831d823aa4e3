from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.errors import DataError
from cosmos_lidar.metrics.iou import ConfusionMatrix, spread_labels

VECTORS = np.load(Path(__file__).parents[1] / "vectors" / "occupancy.npz")


def published() -> ConfusionMatrix:
    """Return the matrix of the published example, filled in two parts as by two ranks."""
    truth, predicted = VECTORS["H_gt"], VECTORS["H_pred"]
    first, second = ConfusionMatrix(17), ConfusionMatrix(17)
    first.add(truth[:1000], predicted[:1000])
    second.add(truth[1000:], predicted[1000:])
    first.merge(second)
    return first


def test_published_numbers() -> None:
    matrix = published()
    assert np.array_equal(matrix.counted, VECTORS["H_cm"]) or np.array_equal(matrix.counts, VECTORS["H_cm"])
    np.testing.assert_allclose(matrix.iou(), VECTORS["H_iou"], rtol=1e-12)
    assert np.isnan(matrix.iou()[[0, 5]]).all()
    assert [matrix.mean_iou(), matrix.frequency_iou()] == pytest.approx(VECTORS["H_miou_fiou"].tolist(), rel=1e-12)


def test_published_occupancy_iou_of_two_classes() -> None:
    matrix = ConfusionMatrix(2, ignore=None)
    matrix.counts[:] = VECTORS["H_bin_cm"]
    assert matrix.mean_iou() == pytest.approx(float(VECTORS["H_bin_iou"]), rel=1e-12)


def test_by_hand() -> None:
    matrix = ConfusionMatrix(4)
    matrix.add(np.array([1, 1, 1, 2, 0, 2]), np.array([1, 1, 2, 2, 1, 0]))
    assert matrix.iou()[1:3].tolist() == [2 / 3, 1 / 2]
    assert np.isnan(matrix.iou()[3])
    assert matrix.accuracy() == 3 / 4
    assert matrix.counts.sum() == 6


def test_no_points_have_no_iou() -> None:
    matrix = ConfusionMatrix(3)
    matrix.add(np.zeros(5, np.uint8), np.ones(5, np.uint8))
    assert all(map(math.isnan, (matrix.mean_iou(), matrix.frequency_iou(), matrix.accuracy())))


def test_classes_that_do_not_fit_are_named() -> None:
    matrix = ConfusionMatrix(3)
    with pytest.raises(DataError, match=r"shape \(2,\) for \(3,\)"):
        matrix.add(np.zeros(3, int), np.zeros(2, int))
    with pytest.raises(DataError, match="predicted classes from 0 to 3.*0 to 2"):
        matrix.add(np.zeros(2, int), np.array([0, 3]))
    with pytest.raises(DataError, match="true classes from -1"):
        matrix.add(np.array([-1]), np.array([1]))


def test_labels_of_all_points_are_those_of_the_nearest() -> None:
    points = np.array([[0.0, 0, 0], [10, 0, 0]])
    wanted = np.array([[9.0, 0, 0], [1, 1, 0], [4.9, 0, 0], [10, 0, 0]])
    assert spread_labels(points, np.array([3, 7]), wanted).tolist() == [7, 3, 3, 7]
    with pytest.raises(DataError, match="1 labels of 2 points"):
        spread_labels(points, np.array([3]), wanted)
