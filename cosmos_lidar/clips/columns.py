"""How many numbers a point has, in a file of points that does not say so.

A column holds one kind of number: x, or z, or an intensity. Numbers of one kind are nearer to each other than to those
of another kind, so the mean difference between two numbers of a column is smallest where the file is cut into its true
columns, whatever the order of the points (for distributions P and Q, 2 E|p - q| is never below E|p - p'| + E|q - q'|).
On recorded scans the wrong width is 15 % (x y z read as four columns) to 150 % above the true one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cosmos_lidar.errors import DataError

WIDTHS = range(3, 11)
_ENOUGH_POINTS, _FEW, _LOOKED_AT = 30, 500, 20_000
_TOGETHER = 1 << 15  # numbers of a file that are read at a time
_SURE = 1.04  # of a few points: the spread of the right width is at most so much above the smallest one
_BETTER, _EQUAL = 0.93, 1.02  # below the lower one another width is right; up to the upper one two widths are alike
_MUCH_BETTER = 0.8  # for multiples of the expected width, which alternating points make better, too


class FloatFile:
    """The float32 numbers of a file, of which those at some places are looked at without the whole being in memory.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._count = path, path.stat().st_size // 4

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, places: np.ndarray) -> np.ndarray:
        """Return (P, W) numbers at places (P, W): rows of consecutive ones, which start ever later.

        Raises:
            DataError: the file has become shorter.
        """
        found, starts, row = np.empty(places.shape, "<f4"), places[:, 0], 0
        buffer = np.empty(max(_TOGETHER, places.shape[1]), "<f4")
        with self._path.open("rb", buffering=0) as file:
            while row < len(places):
                first = int(starts[row])
                file.seek(4 * first)
                there = (file.readinto(buffer.data.cast("B")) or 0) // 4
                after = int(np.searchsorted(starts, first + there - places.shape[1], side="right"))
                if after <= row:
                    raise DataError("it has become shorter", file=self._path, wanted="a complete copy of the file")
                found[row:after] = buffer[places[row:after] - first]
                row = after
        return found

    def whole(self) -> np.ndarray:
        """Return all numbers."""
        return np.fromfile(self._path, "<f4")


def likely_columns(values: np.ndarray | FloatFile, expected: int) -> int:
    """Return how many numbers a point of a file has; ``expected`` unless another number fits clearly better.

    Args:
        values: (M,) float32, all numbers of the file, or the file.
        expected: numbers per point that the file should have.
    """
    if len(values) < _ENOUGH_POINTS * max(WIDTHS):
        return expected
    # Few points suffice to see that no width is much better, as in every good file: a hundredth of the time of a look
    # at many, which the others get.
    spreads = _rough_spreads(values, sorted({expected, *WIDTHS}))
    if spreads[expected] <= _SURE * min(spreads.values()):
        return expected
    values = values if isinstance(values, np.ndarray) else values.whole()
    spreads = {width: _spread(_columns(values, width)) for width in {expected, *WIDTHS}}
    best, own = min(spreads.values()), spreads[expected]
    for width in sorted(spreads):
        limit = _BETTER if width % expected else _MUCH_BETTER
        better = width != expected and spreads[width] < limit * own and spreads[width] <= _EQUAL * best
        if better and (width % expected or _has_no_place(values, width, expected)):
            return width
    return expected


def _rough_spreads(values: np.ndarray | FloatFile, widths: list[int]) -> dict[int, float]:
    """Return width -> spread by few rows, at places that are the same for all widths, in one go."""
    # Around each place lie the rows of all widths that it is in.
    reach = widths[-1] - 1
    places = np.linspace(reach, len(values) - 1 - reach, min(_FEW, len(values) // widths[-1])).astype(np.int64)
    around = _compressed(values[places[:, None] + np.arange(-reach, reach + 1)])
    starts = np.arange(0, around.size, around.shape[1]) + reach - places % np.array(widths)[:, None]
    columns = np.repeat(starts, widths, axis=0) + np.concatenate([np.arange(width) for width in widths])[:, None]
    differences = _differences(np.take(around, columns))
    sums = np.add.reduceat(differences, np.cumsum([0, *widths[:-1]]))
    return {width: float(total) / width for width, total in zip(widths, sums, strict=True)}


def _spread(columns: np.ndarray) -> float:
    """Return the mean difference between two numbers of a column (width, M), over all columns."""
    return float(_differences(columns).mean())


def _differences(columns: np.ndarray) -> np.ndarray:
    """Return (K,) the mean difference between two of the numbers (K, M) of each column."""
    count = columns.shape[1]
    weights = np.arange(1 - count, count, 2).astype(columns.dtype)
    return (np.sort(columns, axis=1) @ weights) * (2 / (count * (count - 1)))


def _columns(values: np.ndarray, width: int) -> np.ndarray:
    """Return (width, M) float32, many rows, column by column, large numbers compressed."""
    rows = values[: len(values) // width * width].reshape(-1, width)
    if len(rows) > _LOOKED_AT:
        rows = rows[np.linspace(0, len(rows) - 1, _LOOKED_AT).astype(np.int64)]
    return _compressed(np.ascontiguousarray(rows.T))


def _compressed(values: np.ndarray) -> np.ndarray:
    """Return the inverse hyperbolic sine as float32; 0 for infinite values and NaN, the largest are as 1e18."""
    size = np.minimum(np.abs(np.nan_to_num(values, posinf=0.0, neginf=0.0)), np.float32(1e18))
    return np.copysign(np.log(size + np.sqrt(size * size + 1)), values)  # half the time of np.arcsinh


def _has_no_place(values: np.ndarray, width: int, expected: int) -> bool:
    """Return whether the second point in a row of ``width`` numbers lacks a coordinate below zero: it is no point."""
    return bool((_columns(values, width)[expected : expected + 2] >= 0).all())
