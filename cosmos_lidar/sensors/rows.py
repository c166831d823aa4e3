"""Row (beam) of a point by look-up table: the beam nearest in elevation.

The rule is ``argmin_i |asin(z / r) - elevation_i|`` with the first beam winning ties. asin rises with its argument, so
every pair of neighboring beams has one switching value of z / r. The switching values are found once per sensor, to
the last bit, by bisection on the rule itself; uniform bins that hold at most one of them each then give the row with
two look-ups and one comparison per point.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from cosmos_lidar.sensors.sensor import Sensor

_MOST_BINS = 1 << 20


class RowTable(NamedTuple):
    """Look-up table for s = z / r: row = row_above[bin(s)] + (s < switch[bin(s)]), bin(s) = int((s + 1) * scale).

    Attributes:
        row_above: (bins,) int32, the row of values at or above the switching value of a bin.
        switch: (bins,) float64, the switching value inside a bin, -inf where there is none.
        scale: bins per unit of s.
        lowest: smallest s inside the field of view (bottom beam less the slack).
        highest: largest s inside the field of view.
    """

    row_above: np.ndarray
    switch: np.ndarray
    scale: float
    lowest: float
    highest: float


@lru_cache(maxsize=64)
def row_table(sensor: Sensor) -> RowTable:
    """Return the table of a sensor."""
    elevations = sensor.row_elevations_rad
    switches = np.array([_switch(upper, lower) for upper, lower in zip(elevations[:-1], elevations[1:], strict=True)])
    bins = _enough_bins(switches)
    scale = bins / 2.0
    held = bin_of(switches, scale, bins)
    switch = np.full(bins, -np.inf)
    switch[held] = switches
    row_above = (held[None] > np.arange(bins)[:, None]).sum(1) if bins <= 4096 else _count_above(held, bins)
    low, high = elevations[-1] - sensor.elevation_slack_rad, elevations[0] + sensor.elevation_slack_rad
    limits = (math.sin(max(low, -math.pi / 2)), math.sin(min(high, math.pi / 2)))
    return RowTable(row_above.astype(np.int32), switch, scale, *limits)


def bin_of(s: np.ndarray, scale: float, bins: int) -> np.ndarray:
    """Return the bin of each s in [-1, 1]; monotonic in s, which is all that the table relies on."""
    return np.clip(((s + 1.0) * scale).astype(np.int64), 0, bins - 1)


def _switch(upper: float, lower: float) -> float:
    """Smallest s in float64 that belongs to the upper of two neighboring beams."""
    below, at = math.sin(lower), math.sin(upper)
    while True:
        middle = below + (at - below) / 2.0
        if middle <= below or middle >= at:
            return at
        elevation = math.asin(middle)
        if abs(elevation - upper) <= abs(elevation - lower):
            at = middle
        else:
            below = middle


def _enough_bins(switches: np.ndarray) -> int:
    bins = 1024
    while bins < _MOST_BINS and len(np.unique(bin_of(switches, bins / 2.0, bins))) < len(switches):
        bins *= 2
    return bins


def _count_above(held: np.ndarray, bins: int) -> np.ndarray:
    """For every bin, the number of switching values in higher bins."""
    return np.cumsum(np.bincount(held, minlength=bins)[::-1])[::-1] - np.bincount(held, minlength=bins)
