"""The image of a generated sweep: dots where points are, near ones in front, rows that may be missing."""

from __future__ import annotations

import numpy as np

from cosmos_lidar.families.lidargen.figure import SeenView, overlay, scaled, three_rows


def test_dots_are_where_the_points_are_and_near_ones_are_in_front():
    gray = np.full((60, 80, 3), 100, np.uint8)
    view = SeenView("v", gray, np.array([[10.0, 20.0], [70.4, 5.6], [10.2, 19.9]]), np.array([4.0, -2.5, -2.5]),
                    np.array([30.0, 8.0, 5.0]))  # fmt: skip
    out = overlay(view)
    changed = np.argwhere((out != 50).any(-1)).tolist()
    assert changed == [[6, 70], [20, 10]]
    assert (out[20, 10] == out[6, 70]).all()  # the low point at 5 m, not the high one at 30 m
    assert np.array_equal(view.image, gray)


def test_rows_with_and_without_views_and_recording():
    rng = np.random.default_rng(0)
    range_m, points = rng.uniform(2, 50, (32, 256)).astype(np.float32), rng.normal(size=(500, 3)) * 10
    view = SeenView("front", np.zeros((90, 160, 3), np.uint8), np.zeros((0, 2)), np.zeros(0), np.zeros(0))
    whole = three_rows([view, view], range_m, points, range_m, points)
    assert whole.shape[1] == 1920
    alone = three_rows([], range_m, points)
    assert alone.shape[1] == 960
    assert alone.shape[0] < whole.shape[0]
    wide = three_rows([], rng.uniform(2, 50, (128, 1792)).astype(np.float32), points)
    assert wide.shape[1] == 1792


def test_scaled_keeps_the_shape():
    assert scaled(np.zeros((10, 20, 3), np.uint8), 50).shape == (25, 50, 3)
