"""Range images of returns that name their pixel, against a loop over the returns."""

from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips.range_images import image_of_values, range_image_of_elements
from cosmos_lidar.clips.sweep import Sweep, sweep_problems

SHAPE = (8, 30)


def returns(count: int, seed: int, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    places = np.repeat(rng.permutation(SHAPE[0] * SHAPE[1])[:count], rng.integers(1, most + 1, count))
    pixel = rng.permutation(places)
    points = rng.normal(size=(len(pixel), 3)).astype(np.float32)
    values = {"intensity": rng.random(len(pixel), np.float32), "time_us": np.arange(len(pixel), dtype=np.int32)}
    return points, np.linalg.norm(points, axis=1), pixel, values


@pytest.mark.parametrize("most", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_every_return_is_in_its_pixel_the_nearer_first(seed, most):
    points, distance, pixel, values = returns(100, seed, most)
    sweep = Sweep(**range_image_of_elements(points, distance, pixel, SHAPE, values))
    assert sweep_problems(sweep) == []
    for image, number in ((sweep, 0), (sweep.second_return, 1)):
        wanted = np.full(SHAPE, -1)
        for place in set(pixel.tolist()):
            own = np.flatnonzero(pixel == place)
            if len(own) > number:
                wanted.reshape(-1)[place] = own[np.argsort(distance[own])[number]]
        if image is None:
            assert (wanted < 0).all()
            continue
        seen = wanted >= 0
        assert np.array_equal(image.range_m > 0, seen)
        assert np.array_equal(image.range_m[seen], distance[wanted[seen]])
        assert np.array_equal(image.time_us[seen], wanted[seen])
        assert np.array_equal(image.intensity[seen], values["intensity"][wanted[seen]])
        assert np.array_equal(image.points, points[wanted[seen]])


def test_three_returns_of_a_pixel_have_no_image():
    points, distance, _, values = returns(3, 0, 1)
    assert range_image_of_elements(points, distance, np.array([5, 5, 5]), SHAPE, values) is None


def test_values_of_single_returns_are_used_up():
    points, distance, pixel, values = returns(100, 0, 1)
    wanted = range_image_of_elements(points, distance, pixel, SHAPE, values)
    held = {"points": points, "range_m": distance, **values}
    found = image_of_values(held, pixel, SHAPE)
    assert held == {}
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


def test_several_returns_of_a_pixel_leave_the_values_alone():
    points, distance, pixel, values = returns(3, 0, 1)
    held = {"points": points, "range_m": distance, **values}
    assert image_of_values(held, np.zeros_like(pixel), SHAPE) is None
    assert list(held) == ["points", "range_m", *values]
