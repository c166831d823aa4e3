"""Ends of sweeps by their starts, and stamps of points after the start."""

from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips.sweep_times import after_start_us, times_of_starts

START_US = 1_700_000_000_000_001


@pytest.mark.parametrize(
    ("steps_us", "length_us"),
    [((), 100_000), ((90_000, 90_000, 270_000), 90_000), ((100_000, 200_000, 200_000), 100_000), ((0, 0), 1)],
)
def test_sweeps_last_the_median_step_and_no_longer_than_a_turn(steps_us, length_us) -> None:
    starts = START_US + np.cumsum([0, *steps_us])
    times = times_of_starts(starts, 10.0)
    assert times.dtype == np.int64
    assert times[:, 0].tolist() == starts.tolist()
    assert set((times[:, 1] - times[:, 0]).tolist()) == {length_us}


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.float64])
def test_stamps_become_microseconds_after_the_start(dtype) -> None:
    times = after_start_us(np.array([START_US - 50_000, START_US, START_US + 99_999], dtype), START_US)
    assert times.dtype == np.int32
    assert times.tolist() == [-50_000, 0, 99_999]
    assert len(after_start_us(np.zeros(0, dtype), START_US)) == 0


@pytest.mark.parametrize(
    ("stamps", "found"),
    [
        (np.array([START_US, START_US + 10_000_001]), "0 to 10000001 us after the start"),
        (np.array([START_US - 10_000_001, START_US], np.uint64), "-10000001 to 0 us after the start"),
        (np.array([START_US, np.nan]), "NaN or infinite"),
    ],
)
def test_stamps_far_from_the_start_are_refused(stamps: np.ndarray, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        after_start_us(stamps, START_US)
