"""Counts of sweeps: returns, columns with returns, points outside the sensor's field of view, range quantiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cosmos_lidar.clips.clip import LidarStream
from cosmos_lidar.clips.sweep import Sweep, points_of


@dataclass(frozen=True)
class SweepStatistics:
    """Of the sweeps that were read.

    Attributes:
        sweeps: how many were read.
        returns_per_sweep: returns, or points, on average.
        valid_share: pixels with a return / pixels.
        range_quantiles_m: 1, 50 and 99 percent of the ranges; None without returns.
        dropped_share: points outside the sensor's field of view or range / points; None for recorded range images.
        hidden_share: points behind a nearer one in the same pixel / points; None for recorded range images.
    """

    sweeps: int
    returns_per_sweep: float
    valid_share: float
    range_quantiles_m: tuple[float, float, float] | None
    dropped_share: float | None
    hidden_share: float | None


@dataclass(frozen=True, eq=False)
class SweepCount:
    """What was counted in one sweep.

    Attributes:
        ranges: in its range map, meters.
        returns: all of them, second returns too.
        columns: of the range map with a return.
        points: those meant for the range map; 0 for a recorded range image.
        dropped: points outside of it.
    """

    ranges: np.ndarray
    returns: int
    columns: int
    points: int = 0
    dropped: int = 0


def count_sweep(stream: LidarStream, sweep: Sweep, index: int) -> SweepCount:
    """Count the returns of sweep ``index``, whose shapes are those of its sensor."""
    if sweep.range_m is not None:
        ranges = sweep.range_m[sweep.range_m > 0]
        second = np.zeros(0) if sweep.second_return is None else np.asarray(sweep.second_return.range_m)
        return SweepCount(ranges, len(ranges) + int(np.count_nonzero(second)), _columns(sweep.range_m))
    projection, count = stream.project(sweep, index), len(points_of(sweep, stream.sensor))
    range_m = np.asarray(projection.range_m)
    first = count if sweep.returns is None else int(np.count_nonzero(sweep.returns == 1))
    return SweepCount(range_m[range_m > 0], count, _columns(range_m), first, projection.n_dropped)


def _columns(range_m: np.ndarray) -> int:
    """Return how many columns of a range map (rows, columns) have a return."""
    return int(np.count_nonzero((range_m > 0).any(0)))


def statistics_of(counted: Sequence[SweepCount], stream: LidarStream) -> SweepStatistics | None:
    """Return the statistics of sweeps; None for no sweep."""
    if not counted:
        return None
    ranges = np.concatenate([one.ranges for one in counted])
    points, dropped = sum(one.points for one in counted), sum(one.dropped for one in counted)
    low, middle, high = np.quantile(ranges, (0.01, 0.5, 0.99)) if len(ranges) else (0.0, 0.0, 0.0)
    return SweepStatistics(
        sweeps=len(counted),
        returns_per_sweep=sum(one.returns for one in counted) / len(counted),
        valid_share=len(ranges) / (len(counted) * stream.sensor.rows * stream.sensor.columns),
        range_quantiles_m=(float(low), float(middle), float(high)) if len(ranges) else None,
        dropped_share=dropped / points if points else None,
        hidden_share=(points - dropped - len(ranges)) / points if points else None,
    )
