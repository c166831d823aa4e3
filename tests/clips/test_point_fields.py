from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips.point_fields import PointFields, to_sweep, unit_of
from cosmos_lidar.clips.sweep import sweep_problems
from cosmos_lidar.errors import DataError

START_US = 1_700_000_000_000_000
TIMES = np.array([START_US, START_US + 100_000])
AFTER_US = np.arange(5) * 20_000  # a sweep of 80 ms
POINTS = {"x": np.arange(1, 6, dtype=np.float32), "y": np.zeros(5, np.float32), "z": np.zeros(5, np.float32)}


def sweep_of(shape: tuple[int, int] | None = None, **columns: np.ndarray):
    sweep = to_sweep(PointFields(POINTS | columns, shape), TIMES)
    assert sweep_problems(sweep) == []
    return sweep


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("t", (AFTER_US * 1000).astype(np.uint32)),  # Ouster
        ("time", (AFTER_US / 1e6).astype(np.float32)),  # Velodyne
        ("offset_time", (AFTER_US * 1000).astype(np.uint32)),  # Livox
        ("timestamp", START_US / 1e6 + AFTER_US / 1e6),  # Hesai, seconds since 1970
        ("timestamp", (START_US + AFTER_US) * 1000.0),  # Livox, float64 ns since 1970
        ("timestamp", ((START_US + AFTER_US) * 1000).astype(np.uint64)),
        ("TimeStamp", START_US + AFTER_US),
        ("scalar_Time_ms", AFTER_US / 1e3),
        ("offset_ns", AFTER_US * 1000),
    ],
)
def test_times_come_in_microseconds_after_the_start(name, values):
    assert np.abs(sweep_of(**{name: values}).time_us - AFTER_US).max() <= 1


def test_a_stated_unit_counts_more_than_the_span():
    assert sweep_of(time_ns=AFTER_US).time_us.tolist() == (AFTER_US // 1000).tolist()


def test_times_before_the_stamp_stay_negative():
    assert sweep_of(time=(AFTER_US - 80_000) / 1e6).time_us.tolist() == (AFTER_US - 80_000).tolist()


def test_times_of_another_clock_count_from_the_earliest():
    assert sweep_of(timestamp=(START_US - 5_000_000 + AFTER_US) * 1000).time_us.tolist() == AFTER_US.tolist()


@pytest.mark.parametrize("values", [np.zeros(5), np.full(5, 7e9), np.arange(5) * 1e10, np.full(5, np.nan)])
def test_times_without_a_plausible_unit_are_left_out(values):
    assert sweep_of(time=values).time_us is None


def test_one_unit_fits_every_span_of_a_sweep():
    for span_us in np.logspace(3.51, 6.49, 40):
        for scale in (1e6, 1e3, 1.0, 1e-3):
            assert unit_of(span_us / scale) == scale
    assert unit_of(0.0) is None


def test_roles_of_fields():
    sweep = sweep_of(Reflectivity=np.arange(5, dtype=np.uint16), channel=np.arange(5, dtype=np.uint8), label=np.ones(5),
                     return_number=np.array([1, 2, 1, 0, 1], np.uint8), normal=np.ones((5, 3)))  # fmt: skip
    assert sweep.intensity.tolist() == [0, 1, 2, 3, 4]
    assert sweep.ring.tolist() == [0, 1, 2, 3, 4]
    assert sweep.labels.tolist() == [1] * 5
    assert sweep.returns.tolist() == [1, 2, 1, 1, 1]
    assert set(sweep.held) == {"points", "intensity", "labels", "ring", "returns"}


def test_labels_with_instances_in_the_upper_half():
    sweep = sweep_of(label=np.full(5, (7 << 16) | 40, np.uint32))
    assert (sweep.labels[0], sweep.instance[0]) == (40, 7)


@pytest.mark.parametrize("ring", [np.full(5, -1), np.full(5, 0.5), np.full(5, 70_000), np.full(5, np.nan)])
def test_a_ring_field_of_something_else_is_left_out(ring):
    assert sweep_of(ring=ring).ring is None


def test_organized_clouds_have_rows():
    def organized(shape):
        cloud = PointFields({axis: np.arange(1.0, 13.0) for axis in "xyz"}, shape)
        return to_sweep(cloud, TIMES).ring.reshape(shape).tolist()

    assert organized((3, 4)) == [[row] * 4 for row in range(3)]
    assert organized((4, 3)) == [[0, 1, 2]] * 4
    assert organized((2, 6))[1] == [1] * 6


def test_points_without_return_are_left_out_with_their_values():
    x = np.array([1, np.nan, 0, np.inf, 5], np.float32)
    sweep = sweep_of(x=x, intensity=np.arange(5))
    assert sweep.points[:, 0].tolist() == [1, 5]
    assert (sweep.intensity.tolist(), sweep.without_return) == ([0, 4], 3)


def test_an_origin_is_subtracted_before_precision_is_lost():
    x = 4_000_000 + np.arange(5) / 64
    sweep = to_sweep(PointFields(POINTS | {"x": x}), TIMES, origin_m=np.array([4_000_000.0, 0, 0]))
    assert sweep.points[:, 0].tolist() == (np.arange(5) / 64).tolist()


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"x": np.ones(5), "y": np.ones(5)}, "fields x, y .*key fields"),
        ({axis: np.ones((5, 2)) for axis in "xyz"}, "fields x, y, z .*of one value"),
        ({axis: np.ones(0) for axis in "xyz"}, "no point in it .*key points"),
        (POINTS | {"ring": np.ones(4)}, "lengths .*ring 4"),
        (POINTS | {"x": np.full(5, 1e7)}, "5 of 5 points have impossible coordinates"),
    ],
)
def test_clouds_that_cannot_be_are_refused(columns, problem):
    with pytest.raises(DataError, match=f"{problem}.*") as raised:
        to_sweep(PointFields(columns), TIMES, file=Path("a.pcd"), clip="c")
    assert "file a.pcd, clip c" in str(raised.value)
