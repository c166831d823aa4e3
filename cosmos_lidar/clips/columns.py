"""How many numbers a point has, in a file of points that does not say so.

A column holds one kind of number: x, or z, or an intensity. Numbers of one kind are nearer to each other than to those
of another kind, so the mean difference between two numbers of a column is smallest where the file is cut into its true
columns, whatever the order of the points (for distributions P and Q, 2 E|p - q| is never below E|p - p'| + E|q - q'|).
On recorded scans the wrong width is 15 % (x y z read as four columns) to 150 % above the true one.
"""

from __future__ import annotations

import numpy as np

WIDTHS = range(3, 11)
_ENOUGH_POINTS, _FEW, _LOOKED_AT = 30, 500, 20_000
_SURE = 1.04  # of a few points: the spread of the right width is at most so much above the smallest one
_BETTER, _EQUAL = 0.93, 1.02  # below the lower one another width is right; up to the upper one two widths are alike
_MUCH_BETTER = 0.8  # for multiples of the expected width, which alternating points make better, too


def likely_columns(values: np.ndarray, expected: int) -> int:
    """Return how many numbers a point of a file has; ``expected`` unless another number fits clearly better.

    Args:
        values: (M,) float32, all numbers of the file.
        expected: numbers per point that the file should have.
    """
    if len(values) < _ENOUGH_POINTS * max(WIDTHS):
        return expected
    # Few points suffice to see that no width is much better, as in every good file: a hundredth of the time of a look
    # at many, which the others get.
    spreads = _spreads(values, expected, _FEW)
    if spreads[expected] <= _SURE * min(spreads.values()):
        return expected
    spreads = _spreads(values, expected, _LOOKED_AT)
    best, own = min(spreads.values()), spreads[expected]
    for width in sorted(spreads):
        limit = _BETTER if width % expected else _MUCH_BETTER
        better = width != expected and spreads[width] < limit * own and spreads[width] <= _EQUAL * best
        if better and (width % expected or _has_no_place(values, width, expected)):
            return width
    return expected


def _spreads(values: np.ndarray, expected: int, most: int) -> dict[int, float]:
    """Return width -> spread, by at most ``most`` rows."""
    return {width: _spread(values, width, most) for width in {expected, *WIDTHS}}


def _spread(values: np.ndarray, width: int, most: int) -> float:
    """Return the mean difference between two numbers of a column, large numbers compressed, over all columns."""
    numbers = np.sort(_columns(values, width, most), axis=1)
    count = numbers.shape[1]
    weights = 2 * np.arange(1, count + 1) - count - 1
    return float((numbers @ weights).mean() * 2 / (count * (count - 1)))


def _columns(values: np.ndarray, width: int, most: int) -> np.ndarray:
    """Return (width, M) float64, the inverse hyperbolic sine of at most ``most`` rows, column by column."""
    rows = values[: len(values) // width * width].reshape(-1, width)
    if len(rows) > most:
        rows = rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
    found = np.ascontiguousarray(rows.T, np.float64)
    size = np.abs(np.nan_to_num(found, posinf=0.0, neginf=0.0))
    return np.copysign(np.log(size + np.sqrt(size * size + 1.0)), found)  # half the time of np.arcsinh


def _has_no_place(values: np.ndarray, width: int, expected: int) -> bool:
    """Return whether the second point in a row of ``width`` numbers lacks a coordinate below zero: it is no point."""
    return bool((_columns(values, width, _LOOKED_AT)[expected : expected + 2] >= 0).all())
