from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.clips.sweep import RETURN_VALUES, Sweep, points_of, sweep_problems, to_points
from cosmos_lidar.sensors import range_map_to_points, uniform_sensor

SENSOR = uniform_sensor(4, 8)


def image(seed: int, **left_out: None) -> Sweep:
    rng = np.random.default_rng(seed)
    range_m = np.where(rng.random(SENSOR.shape) < 0.7, rng.uniform(2, 50, SENSOR.shape), 0).astype(np.float32)
    values = {name: rng.integers(0, 200, SENSOR.shape).astype(dtype) for name, dtype in RETURN_VALUES.items()}
    return Sweep(range_m=range_m, **{**values, **left_out})


def test_values_that_are_held():
    assert Sweep(points=np.zeros((0, 3), np.float32)).held == ("points",)
    assert image(0, ring=None).held == ("range_m", "intensity", "labels", "instance", "time_us", "elongation")
    assert image(0).semantic is not None


def test_a_range_image_as_points_keeps_every_value():
    sweep = image(1)
    cloud, seen = to_points(sweep, SENSOR), sweep.range_m > 0
    assert np.array_equal(cloud.points, range_map_to_points(sweep.range_m, SENSOR))
    for name in RETURN_VALUES:
        assert np.array_equal(getattr(cloud, name), getattr(sweep, name)[seen])
    assert cloud.returns is None
    assert sweep_problems(cloud) == []
    rows = to_points(image(1, ring=None), SENSOR).ring
    assert np.array_equal(rows, np.nonzero(seen)[0])
    assert rows.dtype == np.uint16


def test_second_returns_follow_the_first():
    sweep = replace(image(1), second_return=image(2, intensity=None))
    first, second = (int((one.range_m > 0).sum()) for one in (sweep, sweep.second_return))
    cloud = to_points(sweep, SENSOR)
    assert cloud.returns.tolist() == [1] * first + [2] * second
    assert cloud.intensity is None  # only one of the two has it
    assert np.array_equal(cloud.time_us[first:], sweep.second_return.time_us[sweep.second_return.range_m > 0])
    assert np.array_equal(cloud.points, points_of(sweep, SENSOR))
    assert sweep_problems(cloud) == []
    assert sweep_problems(sweep, SENSOR) == []


def test_points_beside_a_range_image_are_those_of_its_pixels():
    sweep = image(3)
    count = int((sweep.range_m > 0).sum())
    points = np.arange(3 * count, dtype=np.float32).reshape(count, 3)
    both = replace(sweep, points=points)
    assert sweep_problems(both, SENSOR) == []
    assert np.array_equal(to_points(both, SENSOR).points, points)
    assert to_points(both, SENSOR).labels.shape == (count,)
    problem = f"points: float32 ({count - 1}, 3), expected float32 ({count}, 3)"
    assert sweep_problems(replace(sweep, points=points[1:])) == [problem]


def test_points_come_back_as_they_are():
    sweep = Sweep(points=np.ones((5, 3), np.float32))
    assert to_points(sweep, SENSOR) is sweep


POINTS = Sweep(points=np.ones((5, 3), np.float32))


@pytest.mark.parametrize(
    ("sweep", "problem"),
    [
        (Sweep(), "neither range image nor points"),
        (Sweep(range_m=np.ones((4, 7), np.float32)), "range_m: float32 (4, 7), expected float32 (4, 8)"),
        (Sweep(points=np.ones((5, 4), np.float32)), "points: float32 (5, 4), expected float32 (5, 3)"),
        (replace(POINTS, labels=np.ones(5, np.int64)), "labels: int64 (5,), expected uint16 (5,)"),
        (replace(POINTS, time_us=np.ones(4, np.int32)), "time_us: int32 (4,), expected int32 (5,)"),
        (replace(POINTS, returns=np.ones((5, 1), np.uint8)), "returns: uint8 (5, 1), expected uint8 (5,)"),
        (replace(POINTS, second_return=image(0)), "second_return: of points, expected returns (N,) uint8"),
        (replace(image(0), returns=np.ones(3, np.uint8)), "returns: of a range image, expected second_return"),
        (replace(image(0), second_return=POINTS), "second_return: expected a sweep with one range image"),
        (
            replace(image(0), second_return=Sweep(range_m=np.ones((2, 2), np.float32))),
            "second_return: range image (2, 2), expected (4, 8)",
        ),
        (
            replace(image(0), second_return=replace(image(1), ring=np.ones((4, 8)))),
            "second_return: ring: float64 (4, 8), expected uint16 (4, 8)",
        ),
    ],
)
def test_wrong_shapes_and_dtypes_are_named(sweep, problem):
    assert sweep_problems(sweep, SENSOR) == [problem]
