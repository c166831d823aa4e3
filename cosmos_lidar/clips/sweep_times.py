"""Times of sweeps and of their points: ends where the starts alone are known, and stamps after the start."""

from __future__ import annotations

import numpy as np

from cosmos_lidar.clips.blocks import blocks

_LONGEST_US = 10_000_000  # between the start of a sweep and one of its points


def after_start_us(stamps: np.ndarray, start_us: int) -> np.ndarray:
    """Return (N,) int32 microseconds of stamps after the start of their sweep.

    Args:
        stamps: (N,) numbers in microseconds, on the clock of the start.
        start_us: of the sweep.

    Raises:
        ValueError: NaN, or a stamp more than ten seconds from the start; the message is what was found.
    """
    if stamps.dtype.kind == "f" and not np.isfinite(stamps).all():
        raise ValueError("NaN or infinite")
    first, last = (int(end) - start_us for end in (stamps.min(), stamps.max())) if len(stamps) else (0, 0)
    if first < -_LONGEST_US or last > _LONGEST_US:
        raise ValueError(f"{first} to {last} us after the start of the sweep")
    time_us = np.empty(len(stamps), np.int32)
    for part in blocks(len(stamps)):
        time_us[part] = stamps[part].astype(np.int64) - start_us
    return time_us


def times_of_starts(starts_us: np.ndarray, spin_hz: float) -> np.ndarray:
    """Return (N, 2) int64 start and end of each sweep: all last the median step, at most one turn, at least 1 us.

    Args:
        starts_us: (N,) int64 microseconds.
        spin_hz: turns of the sensor per second.
    """
    steps = np.diff(starts_us)
    length_us = min([1e6 / spin_hz, *([float(np.median(steps))] if len(steps) else [])])
    return np.stack([starts_us, starts_us + max(1, round(length_us))], axis=1)
