"""Blocks of points: work on a part that stays in the cache, so that no copy of a whole sweep is made."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BLOCK = 1 << 12  # points


def blocks(count: int) -> Iterator[slice]:
    """Yield slices of at most :data:`BLOCK` that cover ``count``."""
    for start in range(0, count, BLOCK):
        yield slice(start, min(start + BLOCK, count))


def move_points(points: np.ndarray, rotation: np.ndarray, translation_m: np.ndarray | None = None) -> None:
    """Rotate and translate points (N, 3) in place; computed in the dtype of ``rotation``, each as ``R p + t``.

    Args:
        points: float32 or float64.
        rotation: (3, 3).
        translation_m: (3,); None for none.
    """
    turned = np.ascontiguousarray(rotation.T)
    room = np.empty((min(len(points), BLOCK), 3), turned.dtype)
    for part in blocks(len(points)):
        moved = np.matmul(points[part], turned, out=room[: part.stop - part.start])
        if translation_m is not None:
            moved += translation_m
        for axis in range(3):
            points[part, axis] = moved[:, axis]


def select(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return the rows of ``values`` where ``kept`` (N,) bool; the array itself where all are."""
    return values if kept.all() else values[kept]
