"""Starts and ends of sweeps of which the starts alone are known."""

from __future__ import annotations

import numpy as np


def times_of_starts(starts_us: np.ndarray, spin_hz: float) -> np.ndarray:
    """Return (N, 2) int64 start and end of each sweep: all last the median step, at most one turn, at least 1 us.

    Args:
        starts_us: (N,) int64 microseconds.
        spin_hz: turns of the sensor per second.
    """
    steps = np.diff(starts_us)
    length_us = min([1e6 / spin_hz, *([float(np.median(steps))] if len(steps) else [])])
    return np.stack([starts_us, starts_us + max(1, round(length_us))], axis=1)
