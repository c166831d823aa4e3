"""Neighboring pixels of a range map become one, remembering which of them was kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosmos_lidar.errors import UserError
from cosmos_lidar.sensors import pair_columns


@dataclass(frozen=True)
class Merged:
    """A smaller range map.

    Attributes:
        range_m: (rows, columns) float32 meters, 0 = no return.
        source: (rows, columns) int64, flat index of the kept pixel in the full map.
    """

    range_m: np.ndarray
    source: np.ndarray


def merge_pixels(range_m: np.ndarray, rows: int = 1, columns: int = 2, method: str = "scatter_min") -> Merged:
    """Merge blocks of ``rows`` x ``columns`` pixels.

    Args:
        range_m: (R, C) meters, 0 = no return.
        rows: height of a block.
        columns: width of a block.
        method: ``scatter_min`` keeps the nearest return of a block (published), ``scatter_max`` the farthest,
            ``every_n`` the first pixel. A block without return gives 0 and keeps one of its pixels.

    Raises:
        UserError: the map cannot be cut into such blocks, or the method is not known.
    """
    height, width = range_m.shape
    if height % rows or width % columns:
        raise UserError(f"a range map of {height} x {width} pixels cannot be merged by {rows} x {columns}")
    narrow, column = pair_columns(range_m, columns, method)
    merged, row = (array.T for array in pair_columns(np.ascontiguousarray(narrow.T), rows, method))
    return Merged(np.ascontiguousarray(merged), row * width + np.take_along_axis(column, row, axis=0))
