"""How much a pooled result would change with other clips of the same kind: bootstrap over clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        level: share of the sets inside the interval.
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
        level: share of the sets inside the interval.
        seed: of the resampling.
    """
    if len(values) < 2:
        return None
    drawn = np.random.default_rng(seed).choice(np.asarray(values, float), (samples, len(values))).mean(1)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(drawn, (tail, 1.0 - tail)).tolist()
    return low, high


def bootstrap_sets(
    statistic: Callable[[np.ndarray, np.ndarray], float],
    value: float,
    clips: Sequence[str],
    samples: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Return the interval of a distance between a set and its counterpart; None of fewer than two clips.

    Whole clips are drawn with replacement, in both sets the same. Repeated samples make a set look narrower than it is
    and so raise such distances (MMD, Jensen-Shannon, Frechet): the spread of the draws is put around ``value``, not
    around their own, larger mean. A distance is not negative, and neither is its interval.

    Args:
        statistic: (how often each sample of the first set counts (N,), the same of the second (N,)) -> distance.
        value: the distance of the two sets as they are.
        clips: (N,) name of the clip that each sample belongs to.
        samples: number of resampled sets.
        level: share of the draws inside the interval.
        seed: of the resampling.
    """
    names, member = np.unique(np.asarray(clips), return_inverse=True)
    if len(names) < 2:
        return None
    chance = np.full(len(names), 1.0 / len(names))
    draws = np.random.default_rng(seed).multinomial(len(names), chance, size=samples)[:, member]
    found = np.array([statistic(times, times) for times in draws])
    tail = (1.0 - level) / 2.0
    low, high = (value + np.quantile(found, (tail, 1.0 - tail)) - found.mean()).tolist()
    return max(low, 0.0), max(high, 0.0)
