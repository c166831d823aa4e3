"""Nearest times, against a search over all of them."""

from __future__ import annotations

import numpy as np

from cosmos_lidar.clips.nearest import nearest_numbers, nearest_once


def test_the_nearest_of_all_times_is_found_before_between_and_after_them():
    times = np.array([0, 100, 101, 250, 400], np.int64)
    wanted = np.array([-70, 0, 49, 51, 100, 174, 176, 325, 326, 900], np.int64)
    expected = np.abs(times[None] - wanted[:, None]).argmin(axis=1)
    assert nearest_numbers(times, wanted).tolist() == expected.tolist() == [0, 0, 0, 1, 1, 2, 3, 3, 4, 4]


def test_the_earlier_of_two_equally_near_times_and_the_only_one():
    assert nearest_numbers(np.array([0, 100]), np.array([50])).tolist() == [0]
    assert nearest_numbers(np.array([7]), np.array([0, 7, 100])).tolist() == [0, 0, 0]
    assert nearest_numbers(np.array([7]), np.empty(0, np.int64)).tolist() == []


def test_a_time_is_taken_once_by_its_nearest_moment_and_the_first_of_equal_ones():
    times = np.array([0, 100, 200])
    assert nearest_once(times, np.array([10, -5, 120, 80, 90])) == {0: 1, 1: 4}
    assert nearest_once(times, np.array([205, 195, 95])) == {1: 2, 2: 0}
    assert nearest_once(times, np.empty(0, np.int64)) == {}
