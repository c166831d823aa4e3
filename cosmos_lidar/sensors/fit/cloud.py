"""Points of several sweeps as angles, with what the recording has per point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from cosmos_lidar.errors import DataError

_LEAST = 500  # points; fewer are no sweep of a lidar


class MeasuredPoints(Protocol):
    """What a sweep has; :class:`cosmos_lidar.clips.sweep.Sweep` is one."""

    @property
    def points(self) -> np.ndarray | None:
        """(N, 3) meters, x forward, y left, z up, from the lidar."""

    @property
    def ring(self) -> np.ndarray | None:
        """(N,) number of the laser, or None."""

    @property
    def time_us(self) -> np.ndarray | None:
        """(N,) microseconds after the start of the sweep, or None."""

    @property
    def returns(self) -> np.ndarray | None:
        """(N,) which return of its pulse each point is, or None."""


@dataclass(frozen=True, eq=False)
class Cloud:
    """Returns of several sweeps, in the order of the files.

    Attributes:
        points: (N, 3) float64 meters.
        sweep: (N,) number of the sweep.
        ring: (N,) number of the laser; None where a sweep has none.
        time_us: (N,) microseconds after the start of the sweep; None where a sweep has none.
    """

    points: np.ndarray
    sweep: np.ndarray
    ring: np.ndarray | None
    time_us: np.ndarray | None

    def __len__(self) -> int:
        return len(self.points)

    @property
    def range_m(self) -> np.ndarray:
        """(N,) distances from the origin."""
        return np.linalg.norm(self.points, axis=1)

    @property
    def azimuth_rad(self) -> np.ndarray:
        """(N,) azimuths, from x toward y."""
        return np.arctan2(self.points[:, 1], self.points[:, 0])

    @property
    def elevation_rad(self) -> np.ndarray:
        """(N,) elevations above the x-y plane."""
        return np.arctan2(self.points[:, 2], np.linalg.norm(self.points[:, :2], axis=1))

    def chosen(self, which: np.ndarray) -> Cloud:
        """Return the points of an index or mask."""
        ring, time = (None if one is None else one[which] for one in (self.ring, self.time_us))
        return Cloud(self.points[which], self.sweep[which], ring, time)

    def lowered(self, height_m: float) -> Cloud:
        """Return the points as they are from an origin that lies ``height_m`` higher."""
        return replace(self, points=self.points - np.array([0.0, 0.0, height_m]))


def gather(sweeps: Sequence[MeasuredPoints], nearest_m: float = 1.0) -> Cloud:
    """Return the first returns of sweeps, without those nearer than ``nearest_m``.

    Raises:
        DataError: no sweep, a sweep without points (a range image: its beams are those of its sensor), or too few.
    """
    if not sweeps:
        raise DataError("no sweep", wanted="at least one sweep of points")
    parts = []
    for number, sweep in enumerate(sweeps):
        if sweep.points is None:
            wanted = "points; the beams of a range image are those of the sensor that its reader gives it"
            raise DataError("a sweep without points", key=f"sweep {number}", wanted=wanted)
        points = np.asarray(sweep.points, np.float64)
        kept = np.isfinite(points).all(1)
        kept &= np.linalg.norm(np.where(np.isfinite(points), points, 0.0), axis=1) > nearest_m
        if sweep.returns is not None:
            kept &= sweep.returns == 1
        one = Cloud(points, np.full(len(points), number), sweep.ring, sweep.time_us)
        parts.append(one.chosen(kept))
    found = sum(len(one) for one in parts)
    if found < _LEAST * len(parts):
        wanted = f"at least {_LEAST} per sweep beyond {nearest_m:g} m"
        raise DataError(f"{found} points in {len(parts)} sweeps", wanted=wanted)
    return Cloud(
        np.concatenate([one.points for one in parts]),
        np.concatenate([one.sweep for one in parts]),
        _joined([one.ring for one in parts]),
        _joined([one.time_us for one in parts]),
    )


def _joined(values: list[np.ndarray | None]) -> np.ndarray | None:
    there = [value for value in values if value is not None]
    return np.concatenate(there).astype(np.int64) if len(there) == len(values) else None


def wrapped(angle: np.ndarray, period: float = 2.0 * np.pi) -> np.ndarray:
    """Return angles between -period / 2 and period / 2."""
    return angle - period * np.round(angle / period)


def circular_means(values: np.ndarray, groups: np.ndarray, count: int, period: float = 2.0 * np.pi) -> np.ndarray:
    """Return (count,) complex means of the unit vectors of ``values`` in each group: angle and concentration.

    Args:
        values: (N,) radians.
        groups: (N,) numbers from 0 to count - 1.
        count: of groups.
        period: of the values.
    """
    turn = values * (2.0 * np.pi / period)
    number = np.maximum(np.bincount(groups, minlength=count), 1)
    sums = [np.bincount(groups, part(turn), minlength=count) for part in (np.cos, np.sin)]
    return (sums[0] + 1j * sums[1]) / number
