"""Azimuth grid: number of columns, its phase, and the offset of each beam, from the spectrum of azimuths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.fit.beams import Beams
from cosmos_lidar.sensors.fit.cloud import Cloud, circular_means, wrapped

_BINS = 1 << 17
_FEWEST, _MOST = 90, 12_000  # columns per turn
_NEAREST_M = 4.0  # nearer points are off by the beams' origins
_OF_PEAK = 0.7  # a multiple of the true number has a peak as high: the first that comes near the highest is taken
_LOCKED = 0.4  # concentration of azimuths on a grid from which on the grid is that of the lidar
_AGAIN = 0.8  # of the concentration within a sweep, over all sweeps, where the grid is the same turn after turn
_SWEEPS = 4  # whose spectrum is taken
_SURE = 0.3  # concentration of one beam from which on its phase is used
_GAP_RAD = np.radians(60.0)  # without any point: a lidar that sees part of a circle


@dataclass(frozen=True, eq=False)
class Grid:
    """The azimuth grid.

    Attributes:
        step_rad: width of a column.
        columns: of the field of view.
        first_rad: azimuth of the leading edge of column 0.
        end_rad: azimuth of the trailing edge of the last column; None for a full circle.
        offsets_rad: (rows,) of the beams.
        concentration: 1 where all azimuths lie on the grid, 0 where they lie anywhere.
        locked: the lidar measures at the same azimuths turn after turn, in every column.
    """

    step_rad: float
    columns: int
    first_rad: float
    end_rad: float | None
    offsets_rad: np.ndarray
    concentration: float
    locked: bool


def find_grid(
    cloud: Cloud, beams: Beams, clockwise: bool, start_rad: float | None, leads_rad: np.ndarray | None,
    columns: int | None = None,
) -> Grid:  # fmt: skip
    """Return the azimuth grid.

    Args:
        cloud: the points.
        beams: their beams.
        clockwise: direction of rotation.
        start_rad: azimuth at which column 0 begins, about; None: the middle column looks forward.
        leads_rad: (rows,) azimuth of each beam ahead of the others; None where unknown: then offsets are between plus
            and minus half a column.
        columns: per turn, where they are known or chosen.

    Raises:
        DataError: no regular step in azimuth.
    """
    use = np.flatnonzero((cloud.range_m > _NEAREST_M) & (beams.row >= 0))
    if not len(use):
        raise DataError(f"no point beyond {_NEAREST_M:g} m", wanted="sweeps of a lidar outdoors")
    azimuth, row = cloud.azimuth_rad[use], beams.row[use]
    leads = np.zeros(beams.rows) if leads_rad is None else leads_rad
    seen = _seen(azimuth - leads[row])
    one = cloud.sweep[use] - cloud.sweep[use[0]]
    few = one < _SWEEPS
    within, per_turn = _period(azimuth[few], row[few] + beams.rows * one[few], seen)
    together = _strength(azimuth, row, per_turn)
    locked = together >= max(_LOCKED, _AGAIN * within)
    if columns is not None:
        per_turn = float(columns)
    elif within < _LOCKED:
        per_turn = float(round(2.0 * np.pi / _usual(_steps(cloud, beams))))
    else:
        every = round(float(np.quantile(_steps(cloud, beams), 0.25)) * per_turn / (2.0 * np.pi))
        if every > 1:  # azimuths in steps of the encoder, of which the lidar takes every second or third
            per_turn, locked = per_turn / every, False
    step = 2.0 * np.pi / per_turn
    phases = circular_means(azimuth, row, beams.rows, step)
    concentration = float((np.abs(phases) * np.bincount(row, minlength=beams.rows)).sum() / len(row))
    offsets, center = _offsets(azimuth, row, phases, leads, step, locked)
    return _placed(azimuth - offsets[row], center, step, seen, clockwise, start_rad, offsets, concentration, locked)


def _period(azimuth: np.ndarray, group: np.ndarray, seen: tuple[float, float]) -> tuple[float, float]:
    """Return the concentration of azimuths of each group on the best grid, and its columns per turn."""
    power = np.zeros(_BINS // 2 + 1)
    bins = ((azimuth / (2.0 * np.pi)) % 1.0 * _BINS).astype(np.int64) % _BINS
    order = np.argsort(group, kind="stable")
    for mine in np.split(bins[order], np.flatnonzero(np.diff(group[order])) + 1):
        power += np.abs(np.fft.rfft(np.bincount(mine, minlength=_BINS)))
    power = power[:_MOST] / len(group)
    power[:_FEWEST] = 0.0
    first = int(np.argmax(power >= _OF_PEAK * power.max()))
    whole = seen[1] - seen[0] > 2.0 * np.pi - 1e-6
    around = 0 if whole else int(np.ceil(2.0 * np.pi / (seen[1] - seen[0])))  # a peak is as wide as the circle is short
    best = float(first + np.argmax(power[first : first + 2 * around + 2]))
    if whole:
        return float(power[int(best)]), best
    for width in (1.0, 0.05):
        tried = best + np.linspace(-width, width, 81) * around
        strength = [_strength(azimuth, group, one) for one in tried]
        best = float(tried[int(np.argmax(strength))])
    return max(strength), best


def _strength(azimuth: np.ndarray, group: np.ndarray, per_turn: float) -> float:
    turn = azimuth * per_turn
    return float(np.hypot(np.bincount(group, np.cos(turn)), np.bincount(group, np.sin(turn))).sum() / len(group))


def _steps(cloud: Cloud, beams: Beams) -> np.ndarray:
    """Return the distances between neighboring azimuths of one beam in one sweep."""
    far = np.flatnonzero((cloud.range_m > _NEAREST_M) & (beams.row >= 0))
    azimuth = cloud.azimuth_rad[far] % (2.0 * np.pi)
    order = np.lexsort((azimuth, beams.row[far], cloud.sweep[far]))
    steps = np.diff(azimuth[order])
    return steps[(steps > 1e-6) & (np.diff(beams.row[far][order]) == 0) & (np.diff(cloud.sweep[far][order]) == 0)]


def _usual(steps: np.ndarray) -> float:
    """Return the usual one of distances.

    Raises:
        DataError: there is none.
    """
    if len(steps):
        middle = float(np.median(steps))
        near = np.abs(steps - middle) < 0.4 * middle
        if near.mean() > 0.4 and 2.0 * np.pi / _MOST < middle < 2.0 * np.pi / _FEWEST:
            return float(np.median(steps[near]))
    raise DataError(
        "not a spinning lidar: azimuths of a beam are at no usual distance",
        wanted="sweeps of a spinning lidar, or the number of columns",
    )


def _offsets(
    azimuth: np.ndarray, row: np.ndarray, phases: np.ndarray, leads: np.ndarray, step: float, locked: bool
) -> tuple[np.ndarray, float]:
    """Return the offsets of the beams, and the azimuth of a column's center."""
    if not locked:
        common = circular_means(azimuth - leads[row], np.zeros(len(row), np.int64), 1, step)[0]
        return leads, float(np.angle(common) * step / (2.0 * np.pi))
    phase = np.angle(phases) * step / (2.0 * np.pi) - leads
    sure = np.abs(phases) >= _SURE
    center = float(np.angle(np.exp(1j * phase[sure] * (2.0 * np.pi / step)).sum()) * step / (2.0 * np.pi))
    return leads + np.where(sure, wrapped(phase - center, step), 0.0), center


def _seen(azimuth: np.ndarray) -> tuple[float, float]:
    """Return the azimuths between which all points are; a full circle unless a wide part of it has none."""
    turned = np.sort(azimuth % (2.0 * np.pi))
    gaps = np.diff(np.concatenate([turned, turned[:1] + 2.0 * np.pi]))
    widest = int(np.argmax(gaps))
    if gaps[widest] < _GAP_RAD:
        return 0.0, 2.0 * np.pi
    end = float(turned[widest])
    return float(turned[(widest + 1) % len(turned)]) - (2.0 * np.pi if widest + 1 < len(turned) else 0.0), end


def _placed(
    azimuth: np.ndarray, center: float, step: float, seen: tuple[float, float], clockwise: bool,
    start_rad: float | None, offsets: np.ndarray, concentration: float, locked: bool,
) -> Grid:  # fmt: skip
    """Return the grid with its first column where sweeps start, or where the field of view does."""
    way = -1.0 if clockwise else 1.0
    if seen[1] - seen[0] > 2.0 * np.pi - 1e-6:
        wanted = (np.pi if clockwise else -np.pi) if start_rad is None else start_rad
        edge = center - way * step / 2
        first = wanted + float(wrapped(np.array(edge - wanted), step))
        return Grid(
            step, round(2.0 * np.pi / step), float(wrapped(np.array(first))), None, offsets, concentration, locked
        )
    middle = (seen[0] + seen[1]) / 2
    columns = np.round(way * (wrapped(azimuth - middle) + wrapped(np.array(middle - center), step)) / step)
    low, high = float(columns.min()), float(columns.max())
    zero = middle - float(wrapped(np.array(middle - center), step))
    first, end = zero + way * (low - 0.5) * step, zero + way * (high + 0.5) * step
    return Grid(step, int(high - low) + 1, first, end, offsets, concentration, locked)
