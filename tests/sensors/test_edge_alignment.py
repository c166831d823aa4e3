from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cosmos_lidar.sensors.edge_alignment import (
    DepthEdges,
    depth_edges,
    edge_maps,
    edge_view,
    pixels_per_degree,
    score_turns,
)
from cosmos_lidar.sensors.ftheta import FThetaCamera
from cosmos_lidar.sensors.pinhole import PinholeCamera

LENS = PinholeCamera(500.0, 500.0, 319.5, 179.5, 640, 360)
POLES = np.radians([-24, -19.5, -13, -11, -4, 2.5, 9, 16, 17.5, 25])  # to the right
BARS = np.radians([-13, -9.5, -2, 1.5, 8, 14.5])  # down


def test_near_sides_of_jumps_are_found():
    range_m = np.full((4, 12), 30.0)
    range_m[1, 5] = 10.0  # a pole: both its sides jump
    range_m[3] = 8.0  # the road below: the row above is farther, by rows alone
    range_m[0, 0] = 0.0  # no return is no edge
    edges = depth_edges(range_m, np.radians([3.0, 1.0, -1.0, -5.0]))
    upright = edges.pixels[edges.upright].tolist()
    level = edges.pixels[~edges.upright].tolist()
    assert upright == [1 * 12 + 5]
    assert level == [1 * 12 + 5, *range(36, 48)]
    assert np.allclose(edges.weights[edges.upright], np.sqrt(5.0))  # at most 5 m
    assert np.allclose(np.degrees(edges.above_rad[~edges.upright]), [1.0] + [2.0] * 12)


def test_edges_of_a_step_are_as_strong_in_the_dark_as_in_the_light():
    image = np.zeros((120, 240, 3), np.uint8)
    image[:, 60:], image[:, 120:], image[:, 180:] = 20, 100, 250
    upright, level = edge_maps(image, 2, 1.0)
    assert upright.shape == (60, 120)
    row = upright[30]
    assert sorted(np.argsort(-row)[:6] // 4 * 4) == sorted([28, 28, 60, 60, 88, 88]) or row[30] > 5 * row[15]
    assert row[30] == pytest.approx(row[90], rel=0.25)
    assert level[20:40, 20:100].max() < 1e-3


def test_pixels_per_degree_of_both_lenses():
    assert pixels_per_degree(LENS) == pytest.approx(500.0 * 2 * np.tan(np.radians(0.5)), rel=1e-6)
    ftheta = FThetaCamera.from_vector(np.array([954.2, 757.2, 1920, 1080, 0, 0.00105758628, 0, 0, 0, 0, 1.0]))
    assert pixels_per_degree(ftheta) == pytest.approx(np.radians(1.0) / 0.00105758628, rel=0.01)


def scene(turn_deg: tuple[float, float, float], lens=LENS):
    """An image of thin poles and bars, and their points as a camera sees them that is turned by yaw, pitch, roll."""
    image = np.full((lens.height, lens.width, 3), 90, np.uint8)
    rng = np.random.default_rng(0)
    image += rng.integers(0, 12, image.shape, np.uint8)
    points, upright = [], []
    for angle in POLES:
        column = round(lens.cx + lens.fx * np.tan(angle))
        image[:, column:] = 255 - image[:, column:]
        down = np.linspace(-0.3, 0.3, 40)
        points.append(np.stack([np.full(40, np.tan(angle)), down, np.ones(40)], 1) * 15.0)
        upright += [True] * 40
    for angle in BARS:
        row = round(lens.cy + lens.fy * np.tan(angle))
        image[row:] = 255 - image[row:]
        right = np.linspace(-0.6, 0.6, 60)
        points.append(np.stack([right, np.full(60, np.tan(angle)), np.ones(60)], 1) * 15.0)
        upright += [False] * 60
    calibrated_R_true = Rotation.from_euler("yxz", turn_deg, degrees=True)
    seen = calibrated_R_true.apply(np.concatenate(points))
    count = len(upright)
    edges = DepthEdges(np.arange(count), np.ones(count), np.array(upright), np.zeros(count))
    return edge_view(image, lens, seen, edges)


@pytest.mark.parametrize(("axis", "kinds"), [("yaw", (True,)), ("pitch", (False,)), ("roll", (True, False))])
@pytest.mark.parametrize("turn", [-1.5, -0.5, 0.0, 1.0])
def test_the_turn_of_a_camera_is_found_with_its_sign(axis, kinds, turn):
    angles = [turn if name == axis else 0.0 for name in ("yaw", "pitch", "roll")]
    score = score_turns([scene(tuple(angles))], axis, kinds)
    assert score.best_deg == pytest.approx(turn, abs=0.126)
    assert score.contrast > 1.7
    assert score.lead > 0.5
    assert (score.gain > 0.5) == (turn != 0.0)
    assert score.points == (400 if axis == "yaw" else 360 if axis == "pitch" else 760)


def test_signs_are_those_of_the_text():
    """A lens that looks to the right of (above) its calibration sees what is ahead left of (below) the middle."""
    view = scene((0.0, 0.0, 0.0))
    ahead = np.array([[0.0, 0.0, 10.0]])
    for turn, axis, sign in (((2.0, 0, 0), 0, -1.0), ((0, 2.0, 0), 1, 1.0)):
        uv, _ = view.model.project(Rotation.from_euler("yxz", turn, degrees=True).inv().apply(ahead))
        assert sign * (uv[0, axis] - (LENS.cx, LENS.cy)[axis]) > 10
    side, _ = view.model.project(Rotation.from_euler("yxz", (0, 0, 2.0), degrees=True).inv().apply([[5.0, 0, 10.0]]))
    assert side[0, 1] < LENS.cy - 5  # of a lens turned clockwise, what is right of the middle is higher up


def test_too_little_is_none():
    view = scene((0.0, 0.0, 0.0))
    few = type(view)(view.maps, view.shrink, view.model, view.points[:50], view.weights[:50], view.upright[:50])
    assert score_turns([few], "yaw", (True,)) is None
    gray = (np.zeros_like(view.maps[0]),) * 2
    blank = type(view)(gray, view.shrink, view.model, view.points, view.weights, view.upright)
    assert score_turns([blank], "yaw", (True,)) is None
