"""Ends of sweeps by their starts."""

from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips.sweep_times import times_of_starts

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
