"""How many numbers a point has: clouds of several shapes, of odd kinds, and too few points to tell."""

from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips import columns
from cosmos_lidar.clips.columns import FloatFile, likely_columns
from cosmos_lidar.errors import DataError

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
    closely = columns._columns

    def counted(values: np.ndarray, width: int) -> np.ndarray:
        looked.append(width)
        return closely(values, width)

    monkeypatch.setattr(columns, "_columns", counted)
    assert likely(wall_and_ground()[:, :4]) == 4
    assert not looked
    assert likely(wall_and_ground()[:, :5]) == 5
    assert set(columns.WIDTHS) <= set(looked)


def test_the_look_at_few_points_sees_columns_where_they_are():
    """The difference of any two numbers of a column, for every width, against all pairs of the same rows."""
    values = np.stack([RNG.normal(size=9000), RNG.normal(50, 9, 9000), RNG.normal(-3e5, 1, 9000)], 1).astype(np.float32)
    found = columns._rough_spreads(values.ravel(), [3, 4, 7, 12])
    for width, spread in found.items():
        rows = np.arcsinh(values.ravel()[: values.size // width * width].reshape(-1, width).astype(np.float64))
        numbers = rows[np.linspace(0, len(rows) - 1, 400).astype(int)]
        pairs = np.abs(numbers[:, None] - numbers[None]).sum((0, 1)) / (len(numbers) * (len(numbers) - 1))
        assert spread == pytest.approx(pairs.mean(), rel=0.08)
    assert min(found, key=found.__getitem__) in (3, 12)


def test_numbers_that_are_none_have_a_spread():
    values = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-42, 0.0, 1.0] * 100, np.float32)
    assert all(np.isfinite(spread) for spread in columns._rough_spreads(values, [3, 4, 5]).values())


@pytest.mark.parametrize("count", [300, 70_000])
def test_a_file_is_looked_at_as_its_numbers_are(tmp_path, count):
    points = np.random.default_rng(0).normal(size=(count, 4)) * [1, 20, 300, 4000]
    values = points.astype("<f4").ravel()
    values.tofile(tmp_path / "a.bin")
    file = FloatFile(tmp_path / "a.bin")
    places = np.linspace(0, len(values) - 19, 300).astype(np.int64)[:, None] + np.arange(19)
    assert len(file) == len(values)
    assert np.array_equal(file[places], values[places])
    for expected in (3, 4, 5):
        assert likely_columns(file, expected) == likely_columns(values, expected)
    (tmp_path / "a.bin").write_bytes(b"")
    with pytest.raises(DataError, match="shorter"):
        file[places]
