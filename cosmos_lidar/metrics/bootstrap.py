"""Bootstrap confidence intervals over clips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cosmos_lidar.metrics.lidar import RangeErrors


@dataclass(frozen=True)
class Interval:
    """Central interval of a statistic over resampled sets of clips."""

    low: float
    high: float


def bootstrap_over_clips(
    clips: Sequence[RangeErrors], samples: int = 1000, level: float = 0.95, seed: int = 0
) -> dict[str, Interval]:
    """Return intervals of the pooled RMSE, MAE and relative error (``rmse_m``, ``mae_m``, ``relative``).

    Whole clips are drawn with replacement, because frames of one drive resemble each other: an interval over pixels or
    frames would be far too narrow.

    Args:
        clips: one accumulator per clip; fewer than two give no interval (an empty dictionary).
        samples: number of resampled sets.
        level: fraction of the sets inside the interval.
        seed: of the resampling.
    """
    if len(clips) < 2:
        return {}
    sums = np.stack([clip.published_sums() for clip in clips])
    draws = np.random.default_rng(seed).multinomial(len(clips), np.full(len(clips), 1.0 / len(clips)), size=samples)
    count, squared, absolute, relative = (draws @ sums).T
    with np.errstate(invalid="ignore", divide="ignore"):
        values = {"rmse_m": np.sqrt(squared / count), "mae_m": absolute / count, "relative": relative / count}
    tail = (1.0 - level) / 2.0
    return {name: Interval(*np.nanquantile(value, (tail, 1.0 - tail)).tolist()) for name, value in values.items()}


def bootstrap_mean(
    values: Sequence[float], samples: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[float, float] | None:
    """Return the interval of the mean of values that belong to one clip each; None of fewer than two.

    Args:
        values: one per clip.
        samples: number of resampled sets.
        level: fraction of the sets inside the interval.
        seed: of the resampling.
    """
    if len(values) < 2:
        return None
    drawn = np.random.default_rng(seed).choice(np.asarray(values, float), (samples, len(values))).mean(1)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(drawn, (tail, 1.0 - tail)).tolist()
    return low, high


def resample_clips(clips: Sequence[str], samples: int = 200, seed: int = 0) -> np.ndarray:
    """Return (samples, N): how often each of N samples counts when whole clips are drawn with replacement.

    Args:
        clips: (N,) name of the clip that each sample belongs to; fewer than two clips give no draws (0, N).
        samples: number of resampled sets.
        seed: of the resampling.
    """
    names, member = np.unique(np.asarray(clips, dtype=str), return_inverse=True)
    if len(names) < 2:
        return np.zeros((0, len(member)), np.int64)
    chance = np.full(len(names), 1.0 / len(names))
    return np.random.default_rng(seed).multinomial(len(names), chance, size=samples)[:, member]


def mean_difference(
    clips: Sequence[str], first: Sequence[float], second: Sequence[float], samples: int = 2000, seed: int = 0
) -> tuple[float, Interval]:
    """Return the mean of ``first - second``, and its 95 % interval over resampled clips.

    Both were measured on the same samples, some of which are harder than others: the interval of the difference is far
    narrower than those of the two means, and shows whether one of them is better.

    Args:
        clips: (N,) name of the clip that each sample belongs to.
        first: (N,); samples for which one of both is not finite are left out.
        second: (N,).
        samples: number of resampled sets.
        seed: of the resampling.
    """
    differences = np.subtract(first, second, dtype=np.float64)
    there = np.isfinite(differences)
    differences, draws = differences[there], resample_clips(np.asarray(clips, str)[there], samples, seed)
    if not len(differences):
        return math.nan, Interval(math.nan, math.nan)
    return float(differences.mean()), interval_of_draws(draws @ differences / draws.sum(1))


def interval_of_draws(values: Sequence[float], around: float | None = None, level: float = 0.95) -> Interval:
    """Return the central interval of statistics of resampled sets; NaN without any.

    Args:
        values: one per resampled set; NaN ones are left out.
        around: put the spread of the values around this instead of around their own mean, and not below 0. For
            distances between sets (MMD, Jensen-Shannon, Frechet): samples that are drawn twice make a set look
            narrower than it is, so that every draw lies above the distance of the sets themselves.
        level: fraction of the values inside the interval.
    """
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return Interval(math.nan, math.nan)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(values, (tail, 1.0 - tail)).tolist()
    if around is None:
        return Interval(low, high)
    shift = around - float(values.mean())
    return Interval(max(low + shift, 0.0), max(high + shift, 0.0))
