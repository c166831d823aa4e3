import math

import numpy as np
import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.viz import PUBLISHED_VIEW, View, bird_view_image, render_points

FORWARD = View(eye_m=(0.0, 0.0, 0.0), target_m=(1.0, 0.0, 0.0), field_of_view_rad=math.pi / 2)


def lit(image):
    return sorted(map(tuple, np.argwhere(image.any(axis=2)).tolist()))


def test_a_point_lands_where_the_pinhole_says():
    # 90 degrees over 100 rows: focal length 50 px; 2 m left at 10 m is 10 px left of the middle, 1 m up 5 px above.
    image = render_points(np.array([[10.0, 2.0 - 0.01, 1.0 - 0.01]]), (1.0, 0.5, 0.0), 200, 100, view=FORWARD)
    assert lit(image) == [(45, 90)]
    assert image[45, 90].tolist() == [255, 128, 0]


def test_the_nearest_point_wins_whatever_the_order():
    near_far = np.array([[5.0, 0.0, 0.0], [50.0, 0.0, 0.0]])
    colors = np.array([[255, 0, 0], [0, 255, 0]], np.uint8)
    for order in ([0, 1], [1, 0]):
        image = render_points(near_far[order], colors[order], 64, 64, view=FORWARD)
        assert image[32, 32].tolist() == [255, 0, 0]


def test_every_overlap_is_won_by_the_nearest_also_with_large_points():
    rng = np.random.default_rng(1)
    points = np.column_stack([rng.uniform(2, 90, 3000), rng.uniform(-40, 40, 3000), rng.uniform(-20, 20, 3000)])
    colors = rng.integers(1, 255, (3000, 3)).astype(np.uint8)
    image = render_points(points, colors, 60, 40, view=FORWARD, point_px=3)
    depth, wanted = np.full((40, 60), np.inf), np.zeros((40, 60, 3), np.uint8)
    for (x, y, z), color in zip(points.astype(np.float32), colors, strict=True):
        u, v = np.floor(np.float32(-y * 20 / x + 30) - 1), np.floor(np.float32(-z * 20 / x + 20) - 1)
        rows = slice(max(int(v), 0), max(int(v) + 3, 0))
        columns = slice(max(int(u), 0), max(int(u) + 3, 0))
        closer = depth[rows, columns] > x
        wanted[rows, columns][closer], depth[rows, columns][closer] = color, x
    assert (image != wanted).any(axis=2).mean() < 0.005  # a point on a pixel's edge may fall to either side


def test_published_view_looks_forward_from_behind_and_above():
    def at(point):
        return lit(render_points(np.array([point]), (1.0, 1.0, 1.0), view=PUBLISHED_VIEW))

    assert at((20.0, 0.0, 0.0)) == [(360, 640)]
    (sensor,), (left,), (ahead,) = at((0.0, 0.0, 0.0)), at((0.0, 10.0, 0.0)), at((80.0, 0.0, 0.0))
    assert sensor[0] > 360 > ahead[0]
    assert left[1] < 640
    assert at((101.0, 0.0, 0.0)) == []  # beyond the cube of 100 m
    assert at((-70.0, 0.0, 60.0)) == []  # behind the eye


def test_points_behind_the_eye_and_empty_clouds_draw_nothing():
    assert not render_points(np.array([[-5.0, 0, 0], [0.0, 0, 0]]), view=FORWARD).any()
    image = render_points(np.zeros((0, 3)), background=(1, 2, 3), width=8, height=4)
    assert image.shape == (4, 8, 3)
    assert np.all(image == (1, 2, 3))
    assert bird_view_image(np.zeros((0, 4)), size_px=64).shape == (64, 64, 3)


def test_bird_view_has_forward_up_and_left_left():
    points = np.array([[20.0, 0.0, 0.0], [0.0, 30.0, 0.0], [20.0, 0.0, 5.0]])
    colors = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    image = bird_view_image(points, colors=colors, half_extent_m=50, size_px=500, ring_step_m=0)
    assert image[150, 250].tolist() == [0, 0, 255]  # the higher point hides the lower one
    assert image[250, 100].tolist() == [0, 255, 0]


def test_wrong_points_and_colors_are_named():
    with pytest.raises(UserError, match=r"shape \(N, 3 or more\), this array \(4, 2\)"):
        render_points(np.zeros((4, 2)))
    with pytest.raises(UserError, match=r"4 points need colors of shape \(4, 3\)"):
        render_points(np.zeros((4, 3)), np.zeros((5, 3)))
