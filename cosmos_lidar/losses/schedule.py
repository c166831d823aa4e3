"""Loss weights that change with the step."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence


def piecewise_constant(step: int, boundaries: Sequence[int], values: Sequence[float]) -> float:
    """Return values[k] for the first k with step < boundaries[k], and the last value after all of them.

    Args:
        step: optimizer step.
        boundaries: rising steps at which the value changes.
        values: one more than boundaries.
    """
    if len(values) != len(boundaries) + 1:
        raise ValueError(f"{len(values)} values for {len(boundaries)} boundaries: one more value is needed")
    return values[bisect_right(boundaries, step)]
