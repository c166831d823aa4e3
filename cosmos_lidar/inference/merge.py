"""Neighbouring pixels of a range map become one, remembering which of them was kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosmos_lidar.errors import UserError

METHODS = ("scatter_min", "scatter_max", "every_n")


@dataclass(frozen=True)
class Merged:
    """A smaller range map.

    Attributes:
        range_m: (rows, columns) float32 metres, 0 = no return.
        source: (rows, columns) int64, flat index of the kept pixel in the full map.
    """

    range_m: np.ndarray
    source: np.ndarray


def merge_pixels(range_m: np.ndarray, rows: int = 1, columns: int = 2, method: str = "scatter_min") -> Merged:
    """Merge blocks of ``rows`` x ``columns`` pixels.

    Args:
        range_m: (R, C) metres, 0 = no return.
        rows: height of a block.
        columns: width of a block.
        method: ``scatter_min`` keeps the nearest return of a block (published), ``scatter_max`` the farthest,
            ``every_n`` the first pixel. A block without return gives 0 and keeps its first pixel.

    Raises:
        UserError: the map cannot be cut into such blocks, or the method is not known.
    """
    if method not in METHODS:
        raise UserError(f"unknown merging {method!r}: choose {' or '.join(METHODS)}")
    height, width = range_m.shape
    if height % rows or width % columns:
        raise UserError(f"a range map of {height} x {width} pixels cannot be merged by {rows} x {columns}")
    blocks = _blocks(range_m, rows, columns)
    chosen = np.zeros(blocks.shape[:2], np.int64)
    if method == "scatter_min":
        chosen = np.where(blocks > 0, blocks, np.inf).argmin(axis=-1)
    elif method == "scatter_max":
        chosen = blocks.argmax(axis=-1)
    index = _blocks(np.arange(height * width).reshape(height, width), rows, columns)
    chosen = chosen[..., None]
    return Merged(np.take_along_axis(blocks, chosen, -1)[..., 0], np.take_along_axis(index, chosen, -1)[..., 0])


def _blocks(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """(R, C) -> (R / rows, C / columns, rows * columns)."""
    height, width = values.shape
    parts = values.reshape(height // rows, rows, width // columns, columns).swapaxes(1, 2)
    return parts.reshape(height // rows, width // columns, rows * columns)
