"""Direction of rotation, azimuth at the start of a sweep, and azimuth lead of each beam within a firing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosmos_lidar.sensors.fit.beams import Beams
from cosmos_lidar.sensors.fit.cloud import Cloud, circular_means, wrapped

_ROUNDS = 5
_MIXED = 0.3  # share of neighbors in time that are of different beams, where beams fire one after the other


@dataclass(frozen=True, eq=False)
class Rotation:
    """How the lidar turns.

    Attributes:
        clockwise: azimuth falls with time; None where nothing tells.
        start_rad: azimuth at the start of a sweep; None where nothing tells.
        leads_rad: (rows,) azimuth of each beam ahead of all others at one time, their median 0; None where unknown.
        how: what told.
    """

    clockwise: bool | None
    start_rad: float | None
    leads_rad: np.ndarray | None
    how: str


def find_rotation(cloud: Cloud, beams: Beams) -> Rotation:
    """Return how the lidar turns: by the times of points, else by their order in the file."""
    if cloud.time_us is not None and np.ptp(cloud.time_us) > 0:
        order = np.lexsort((cloud.time_us, cloud.sweep))
        found = _in_time(cloud.chosen(order), beams.row[order], beams.rows)
        if found is not None:
            return Rotation(*found, "times of points")
    if _mixed(beams.row) >= _MIXED:
        found = _in_time(cloud, beams.row, beams.rows)
        if found is not None:
            return Rotation(*found, "order of points, beams side by side")
    same = (np.diff(beams.row) == 0) & (np.diff(cloud.sweep) == 0) & (beams.row[1:] >= 0)
    steps = np.sign(wrapped(np.diff(cloud.azimuth_rad)))[same]
    if same.mean() > 0.5 and abs(steps.mean()) > 0.5:
        return Rotation(bool(steps.mean() < 0), None, None, "order of points, one beam after the other")
    return Rotation(None, None, None, "nothing: points are in no order")


def _mixed(row: np.ndarray) -> float:
    return float((np.diff(row) != 0).mean())


def _in_time(cloud: Cloud, row: np.ndarray, rows: int) -> tuple[bool, float | None, np.ndarray] | None:
    """Return direction, start and leads from points in the order of time; None if they are not."""
    azimuth, half = cloud.azimuth_rad, 2 * rows
    use = np.flatnonzero(row >= 0)
    parts = [use[cloud.sweep[use] == number] for number in np.unique(cloud.sweep)]
    parts = [part for part in parts if len(part) > 8 * half]
    if not parts:
        return None
    leads = np.zeros(rows)
    for _ in range(_ROUNDS):
        line = [_smooth(azimuth[part] - leads[row[part]], half) for part in parts]
        inner = np.concatenate([part[half:-half] for part in parts])
        apart = azimuth[inner] - np.concatenate([np.angle(one) for one in line])
        leads = np.angle(circular_means(apart, row[inner], rows))
        leads = wrapped(leads - np.median(leads))
    if np.mean(np.abs(np.concatenate(line))) < 0.95:
        return None
    turned = np.array([wrapped(np.diff(np.angle(one[:: 4 * half]))).sum() for one in line])
    if abs(np.sign(turned).mean()) < 1.0 or np.abs(turned).mean() < 0.5:
        return None
    first = np.mean([one[0] / abs(one[0]) for one in line])
    per_point = np.mean(turned / [len(one) for one in line])
    start = float(np.angle(first) - per_point * half)  # the first window is centered ``half`` points after the start
    return bool(turned[0] < 0), start if abs(first) > 0.9 else None, leads


def _smooth(azimuth: np.ndarray, half: int) -> np.ndarray:
    """Return the complex means over windows of 2 * half points, without the ends."""
    sums = np.concatenate([[0.0], np.cumsum(np.exp(1j * azimuth))])
    return (sums[2 * half :] - sums[: -2 * half])[:-1] / (2 * half) if len(azimuth) > 2 * half else sums[:0]
