"""Voxel decimation: one point per cell of a grid."""

from __future__ import annotations

import torch
from torch import Tensor

from cosmos_lidar.models.sparse.groups import occupied_cells
from cosmos_lidar.models.sparse.keys import check_coords


def decimate(points: Tensor, size: float) -> Tensor:
    """Return (K,) indices of the points that stay: of each cell the lowest one, in the order of cells x, y, z.

    Cells are trunc(p / size), as published: those beside 0 are twice as wide.

    Args:
        points: (N, 3) meters.
        size: of a cell, meters.

    Raises:
        DataError: no points, or too far away for the size, or not finite.
    """
    cells = (points / size).trunc().long()
    check_coords(torch.nn.functional.pad(cells, (1, 0)))
    return occupied_cells(cells).first
