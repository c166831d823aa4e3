from __future__ import annotations

import numpy as np

from cosmos_lidar.families.lidar_tokenizer.histogram import histogram_image
from cosmos_lidar.metrics.lidar import RangeErrors

BLUE = (31, 119, 180)


def bars(errors_m: np.ndarray) -> np.ndarray:
    """Height of the bar in each column of the image, pixels."""
    errors = RangeErrors()
    errors.add(np.full(errors_m.shape, 50.0), 50.0 - errors_m)
    image = histogram_image(errors.result(), errors.protocol.histogram_max_m, "drive")
    assert image.shape == (480, 800, 3)
    assert image.dtype == np.uint8
    return (image == BLUE).all(-1).sum(0)


def test_one_bar_per_error_and_ten_times_as_many_are_higher() -> None:
    few, many = bars(np.full((2, 2), 0.01)), bars(np.full((20, 20), 0.01))
    assert (few > 0).any()
    assert np.flatnonzero(few).max() < 120  # at the left edge: the smallest errors
    assert many.max() > few.max()


def test_larger_errors_are_further_right() -> None:
    near, far = (np.flatnonzero(bars(np.full((4, 4), size))) for size in (0.01, 1.0))
    assert near.max() < far.min()
