"""Range maps as images: the published preprocessing, number by number."""

import numpy as np
import pytest
import torch

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.sensors import (
    RangeMapFormat,
    denormalise,
    normalise,
    pair_columns,
    prepare_range_map,
    restore_range_map,
)

FORMAT = RangeMapFormat()
RANGES = np.array([0, 2.5, 5, 5.05, 5.2, 10, 20, 52.5, 75.3, 99.7, 99.95, 100, 105], np.float32)
SIGNED = [-1, -1, -1, -0.99894738, -0.99578947, -0.89473683, -0.68421054, 0, 0.48000002, 0.99368417, 0.99894726, 1, 1]
UNIT = [0, 0, 0, 0.00052632, 0.00210526, 0.05263158, 0.15789473, 0.5, 0.74, 0.99684209, 0.99947363, 1, 1]
INVERSE = [
    -1,
    1,
    1,
    0.97915566,
    0.91902840,
    -0.05263156,
    -0.57894737,
    -0.90476191,
    -0.96547145,
    -0.99968326,
    -0.99994731,
    -1,
    -1,
]
KINDS = pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])


@KINDS
def test_published_normalisation(kind):
    np.testing.assert_allclose(normalise(kind(RANGES), FORMAT), SIGNED, atol=1e-7)
    np.testing.assert_allclose(normalise(kind(RANGES), FORMAT, min_value=0.0), UNIT, atol=1e-7)
    np.testing.assert_allclose(normalise(kind(RANGES), FORMAT, inverse_depth=True), INVERSE, atol=2e-7)


def test_denormalise_undoes_it_within_the_limits():
    inside = RANGES.clip(5, 100)
    for options in ({}, {"min_value": 0.0}, {"inverse_depth": True}):
        values = normalise(RANGES[2:].astype(np.float64), FORMAT, **options)
        np.testing.assert_allclose(denormalise(values, FORMAT, **options), inside[2:], rtol=1e-6)


@KINDS
def test_published_column_minimum(kind):
    rows = np.array(
        [
            [0, 1, 2, 3, 4, 5, 6, 7],
            [8, 9, 0, 0, 12, 13, 14, 15],
            [48, 49, 50, 51, 7.5, 53, 54, 55],
            [56, 57, 58, 59, 60, 61, 62, 0],
        ],
        np.float32,
    )
    merged, kept = pair_columns(kind(rows))
    np.testing.assert_array_equal(merged, [[1, 2, 4, 6], [8, 0, 12, 14], [48, 50, 7.5, 54], [56, 58, 60, 62]])
    np.testing.assert_array_equal(np.take_along_axis(rows, np.asarray(kept), 1), merged)
    assert np.asarray(pair_columns(kind(rows), 2, "scatter_max")[0])[1].tolist() == [9, 0, 13, 15]
    assert np.asarray(pair_columns(kind(rows), 4, "every_n")[0])[2].tolist() == [48, 7.5]


@KINDS
def test_picture_and_back(kind):
    range_m = np.random.default_rng(0).uniform(6, 98, (2, 8, 12)).astype(np.float32)
    range_m[0, 3, :4] = 0
    image = prepare_range_map(kind(range_m), FORMAT)
    assert tuple(image.shape) == (2, 3, 32, 6)
    back = restore_range_map(image, FORMAT)
    np.testing.assert_allclose(back, pair_columns(range_m)[0], rtol=2e-6)
    mean = restore_range_map(image, FORMAT, row="mean")
    np.testing.assert_allclose(mean, back, rtol=2e-6)


def test_published_row_and_mask():
    rows = np.arange(8, dtype=np.float32)[:, None]
    image = normalise(10 + rows, FORMAT)[None].repeat(3, 0)
    np.testing.assert_allclose(restore_range_map(image, FORMAT)[:, 0], [12, 16], rtol=1e-6)  # rows 2 and 6
    edges = normalise(RANGES[:, None].repeat(4, 0), FORMAT)[None].repeat(3, 0)
    expected = [0, 0, 0, 0, 0, 10, 20, 52.5, 75.3, 0, 0, 0, 0]
    np.testing.assert_allclose(restore_range_map(edges, FORMAT)[:, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(restore_range_map(edges, FORMAT, near_m=1.5, far_m=10)[:, 0], expected, rtol=1e-6)


def test_wrong_input_says_so():
    with pytest.raises(DataError, match="9 columns do not divide by 2"):
        pair_columns(np.zeros((2, 9)))
    with pytest.raises(UserError, match="scatter_min, scatter_max, every_n"):
        pair_columns(np.zeros((2, 8)), 2, "mean")
    for bad in (np.nan, np.inf, -1.0):
        with pytest.raises(DataError, match="NaN, infinite or negative"):
            normalise(np.array([1.0, bad]), FORMAT)
    with pytest.raises(UserError, match="published, mean"):
        restore_range_map(np.zeros((3, 4, 4)), FORMAT, row="first")
