"""How many numbers a point has: clouds of several shapes, of odd kinds, and too few points to tell."""

from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips import columns
from cosmos_lidar.clips.columns import likely_columns

RNG = np.random.default_rng(0)


def wall_and_ground(count: int = 6000) -> np.ndarray:
    """x y z intensity ring time of a turning lidar, beam after beam."""
    rise, turn = np.meshgrid(
        np.radians(np.linspace(2, -24, 40)), np.linspace(np.pi, -np.pi, count // 40), indexing="ij"
    )
    far = np.minimum(1.73 / np.maximum(np.sin(-rise), 1e-3), 25 + 10 * np.sin(3 * turn))
    flat = far * np.cos(rise)
    ring = np.repeat(np.arange(40)[:, None], count // 40, 1)
    columns = [
        flat * np.cos(turn),
        flat * np.sin(turn),
        far * np.sin(rise),
        np.full(far.shape, 0.3),
        ring,
        turn / 60 + 0.1,
    ]
    return np.stack(columns, -1).reshape(-1, 6).astype(np.float32)


def likely(points: np.ndarray, expected: int = 4) -> int:
    return likely_columns(points.astype(np.float32).ravel(), expected)


@pytest.mark.parametrize("width", [3, 4, 5, 6])
@pytest.mark.parametrize("shuffled", [False, True])
def test_the_number_of_columns_is_found(width: int, shuffled: bool):
    points = wall_and_ground()
    points = RNG.permutation(points) if shuffled else points
    assert likely(points[:, :width]) == width
    assert likely(points[:, :width], expected=5) == width


def test_points_of_a_library_with_padding():
    points = wall_and_ground()
    zeros = np.zeros((len(points), 3))
    assert likely(np.column_stack([points[:, :3], zeros[:, 0] + 1, points[:, 3], zeros])) == 8


@pytest.mark.parametrize("kind", ["counts", "front", "flat", "two lidars", "many lost", "one point"])
def test_odd_files_of_four_columns_are_of_four_columns(kind: str):
    points = wall_and_ground()[:, :4]
    if kind == "counts":
        points[:, 3] = RNG.integers(0, 256, len(points))
    elif kind == "front":
        points = points[np.abs(points[:, 1]) < 0.3 * points[:, 0]]
    elif kind == "flat":
        points[:, 2:] = 0
    elif kind == "two lidars":
        points[::2, 0] += 30
        points[1::2, 0] -= 30
    elif kind == "many lost":
        points[RNG.random(len(points)) < 0.8] = np.nan
    else:
        points[:] = points[0]
    assert likely(points) == 4


def test_few_points_tell_nothing():
    assert likely(wall_and_ground()[:20, :3]) == 4


@pytest.mark.parametrize("width", [3, 4, 5, 6])
@pytest.mark.parametrize("expected", [3, 4, 5, 6])
def test_the_look_at_few_points_changes_no_answer(width: int, expected: int, monkeypatch: pytest.MonkeyPatch):
    points = wall_and_ground()[:, :width]
    quick = likely(points, expected)
    monkeypatch.setattr("cosmos_lidar.clips.columns._SURE", 0.0)
    assert quick == likely(points, expected)


def test_good_files_are_not_looked_at_twice(monkeypatch: pytest.MonkeyPatch):
    looked: list[int] = []
    spreads = columns._spreads

    def counted(values: np.ndarray, expected: int, most: int) -> dict[int, float]:
        looked.append(most)
        return spreads(values, expected, most)

    monkeypatch.setattr(columns, "_spreads", counted)
    assert likely(wall_and_ground()[:, :4]) == 4
    assert looked == [columns._FEW]
    assert likely(wall_and_ground()[:, :5]) == 5
    assert looked == [columns._FEW, columns._FEW, columns._LOOKED_AT]
