import numpy as np
import pytest

from cosmos_lidar.synth import cast_sweep, objects
from cosmos_lidar.synth.objects import car
from cosmos_lidar.synth.primitives import Primitives
from tests.synth.street import AT, SENSOR, beams, still


def test_a_car_is_closed_and_of_plausible_size():
    pose = np.eye(4)
    pose[:3, 3] = AT + [8.0, 0.0, -2.0]
    thing = car(np.random.default_rng(2)).placed(pose)
    sweep = cast_sweep(SENSOR, thing, None, still(), 0.1)
    hit = sweep.range_m > 0
    points = (sweep.range_m * beams())[:, hit]
    assert 5.4 < points[0].min() < 6.1
    assert 1.6 < np.ptp(points[1]) < 2.2
    assert -2.0 < points[2].min() < points[2].max() < -0.25
    assert set(sweep.labels[hit]) == {10}


def extent(thing: Primitives) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner of the bounding boxes of all bodies, which stand at the origin without a turn."""
    assert np.array_equal(thing.rotation, np.tile(np.eye(3), (len(thing), 1, 1)))
    half = thing.bounding_half()
    return (thing.center - half).min(0), (thing.center + half).max(0)


@pytest.mark.parametrize(
    ("make", "length", "width", "height", "labels"),
    [
        (objects.car, (3.9, 5.0), (1.7, 2.2), (1.3, 1.8), {10}),
        (objects.truck, (6.9, 9.8), (2.2, 2.6), (2.9, 3.8), {18}),
        (objects.pedestrian, (0.2, 0.9), (0.4, 0.8), (1.5, 2.0), {30}),
        (objects.cyclist, (1.5, 2.0), (0.4, 0.8), (1.6, 2.0), {31}),
        (objects.tree, (2.0, 7.0), (2.0, 7.0), (4.0, 9.0), {70, 71}),
        (objects.lamp, (1.9, 2.2), (0.2, 0.4), (5.9, 7.6), {80}),
        (objects.sign, (0.05, 0.2), (0.5, 0.8), (2.6, 2.9), {80, 81}),
    ],
)
def test_things_have_plausible_sizes_and_classes(make, length, width, height, labels):
    for seed in range(20):
        thing = make(np.random.default_rng(seed))
        low, high = extent(thing)
        for size, (least, most) in zip(high - low, (length, width), strict=False):
            assert least <= size <= most, (seed, size)
        assert height[0] <= high[2] <= height[1], seed
        assert -0.1 <= low[2] <= 0.2, seed
        assert set(thing.label) == labels
        assert ((thing.color >= 0) & (thing.color <= 1)).all()
        assert np.array_equal(make(np.random.default_rng(seed)).center, thing.center)


def test_houses_hedges_and_fences_have_the_asked_length():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        low, high = extent(objects.building(rng, 14.0, 10.0))
        assert 14.0 <= high[0] - low[0] <= 14.5
        assert 10.0 <= high[1] - low[1] <= 11.0
        assert 6.0 <= high[2] <= 21.0
        assert low[2] < -1.0  # stands in sloping ground
        for make, label in ((objects.hedge, 70), (objects.fence, 51)):
            border = make(rng, 12.0)
            low, high = extent(border)
            assert 12.0 <= high[0] - low[0] <= 12.2
            assert 0.9 <= high[2] <= 1.8
            assert set(border.label) == {label}
