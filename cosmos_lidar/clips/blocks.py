"""Blocks of points: work on a part that stays in the cache, so that no copy of a whole sweep is made."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BLOCK = 1 << 14  # points; fewer take twice the time, as each call of numpy takes as long as some hundred of them
_SMALLEST, _SHARE = 1 << 12, 8


def block_size(count: int) -> int:
    """Return the points of a block: an eighth of ``count``, so that buffers stay small beside it, 4096 to 16384."""
    return max(min(count // _SHARE, BLOCK), _SMALLEST)


def blocks(count: int, size: int | None = None) -> Iterator[slice]:
    """Yield slices of at most ``size`` (default :func:`block_size`) that cover ``count``."""
    size = size or block_size(count)
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def move_points(points: np.ndarray, rotation: np.ndarray, translation_m: np.ndarray | None = None) -> None:
    """Rotate and translate points (N, 3) in place; computed in the dtype of ``rotation``, each as ``R p + t``.

    Args:
        points: float32 or float64.
        rotation: (3, 3).
        translation_m: (3,); None for none.
    """
    size = block_size(len(points)) * points.itemsize // max(points.itemsize, rotation.itemsize)
    count = min(len(points), size)
    columns, room = np.empty((3, count), rotation.dtype), np.empty((3, count), rotation.dtype)
    for part in blocks(len(points), size):
        given, moved = columns[:, : part.stop - part.start], room[:, : part.stop - part.start]
        for axis in range(3):  # column by column: five times as fast as by rows
            given[axis] = points[part, axis]
        np.matmul(rotation, given, out=moved)
        if translation_m is not None:
            moved += translation_m[:, None]
        for axis in range(3):
            points[part, axis] = moved[axis]


def select(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return the rows of ``values`` where ``kept`` (N,) bool; the array itself where all are."""
    return values if kept.all() else values[kept]
