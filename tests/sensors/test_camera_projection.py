"""Points in images: where they are, and what hides what."""

from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.sensors import FThetaCamera, PinholeCamera
from cosmos_lidar.sensors.camera_projection import project_to_image

LENS = PinholeCamera(400.0, 400.0, 319.5, 199.5, 640, 400)


def wall(distance: float, half_width: float, half_height: float, count: int = 40) -> np.ndarray:
    x, y = np.meshgrid(np.linspace(-half_width, half_width, count), np.linspace(-half_height, half_height, count))
    return np.stack([x, y, np.full_like(x, distance)], -1).reshape(-1, 3)


def test_pixels_depth_and_the_edges_of_the_picture():
    points = np.array([[0, 0, 10.0], [8.0, 0, 10], [8.1, 0, 10], [0, 0, -10], [-8.0, 5.0, 10], [0, 5.1, 10]])
    seen = project_to_image(points, LENS)
    assert seen.uv[:2] == pytest.approx(np.array([[319.5, 199.5], [639.5, 199.5]]))
    assert seen.inside.tolist() == [True, False, False, False, False, False]
    nudged = project_to_image(points - [1e-6, 1e-6, 0], LENS)
    assert nudged.inside.tolist() == [True, True, False, False, False, False]
    assert seen.depth[:3].tolist() == [10, 10, 10]


def test_a_wall_hides_what_is_behind_it_and_nothing_beside_it():
    near, far = wall(10.0, 1.0, 1.0), wall(30.0, 12.0, 8.0, 120)
    seen = project_to_image(np.concatenate([near, far]), LENS)
    assert seen.visible[: len(near)].all()
    of_far = seen.visible[len(near) :]
    shadow = (np.abs(far[:, 0]) < 2.5) & (np.abs(far[:, 1]) < 2.5)  # 30 m behind 10 m: three times as wide
    clear = (np.abs(far[:, 0]) > 4.1) | (np.abs(far[:, 1]) > 4.1)
    assert not of_far[shadow].any()
    assert np.array_equal(of_far[clear], seen.inside[len(near) :][clear])


def test_the_road_does_not_hide_the_road():
    depth = np.geomspace(4.0, 80.0, 60)
    z, x = np.meshgrid(depth, np.linspace(-3, 3, 30))
    road = np.stack([x, np.full_like(x, 1.5), z], -1).reshape(-1, 3)
    seen = project_to_image(road, LENS)
    assert seen.inside.sum() > 1000
    assert np.array_equal(seen.visible, seen.inside)


def test_a_lens_that_bends_sees_the_same():
    lens = FThetaCamera.from_vector(np.array([319.5, 199.5, 640, 400, 0, 0.0025, 0, 0, 0, 0, 1]))
    seen = project_to_image(np.concatenate([wall(10.0, 1, 1), wall(30.0, 2, 2)]), lens)
    assert seen.visible[:1600].all()
    assert not seen.visible[1600:].any()


def test_nothing_and_nonsense():
    assert project_to_image(np.zeros((0, 3)), LENS).visible.shape == (0,)
    with pytest.raises(UserError, match="reach of 0 pixels, tolerance 0.1: both must be positive"):
        project_to_image(np.zeros((1, 3)), LENS, reach_px=0)
