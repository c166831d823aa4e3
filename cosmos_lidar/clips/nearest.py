"""Nearest times: which image or sweep belongs to each moment of another clock."""

from __future__ import annotations

import numpy as np


def nearest_numbers(times_us: np.ndarray, wanted_us: np.ndarray) -> np.ndarray:
    """Return (M,) int64 numbers of the nearest times; the earlier one of two that are equally near.

    Args:
        times_us: (N,) increasing, at least one.
        wanted_us: (M,) moments, in any order.
    """
    after = np.searchsorted(times_us, wanted_us).clip(1, max(len(times_us) - 1, 1))
    if len(times_us) == 1:
        return np.zeros(len(wanted_us), np.int64)
    earlier = wanted_us - times_us[after - 1] <= times_us[after] - wanted_us
    return (after - earlier).astype(np.int64)


def nearest_once(times_us: np.ndarray, wanted_us: np.ndarray) -> dict[int, int]:
    """Return number of a time -> number of a moment, of those whose nearest time it is the one that is nearest.

    Args:
        times_us: (N,) increasing, at least one.
        wanted_us: (M,) moments; of equally near ones the first counts.
    """
    numbers = nearest_numbers(times_us, wanted_us)
    apart_us = np.abs(times_us[numbers] - wanted_us)
    by_distance = np.lexsort((np.arange(len(numbers)), apart_us))
    chosen, first = np.unique(numbers[by_distance], return_index=True)
    return dict(zip(chosen.tolist(), by_distance[first].tolist(), strict=True))
