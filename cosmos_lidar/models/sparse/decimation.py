"""Voxel decimation: one point per cell of a grid."""

from __future__ import annotations

import torch
from torch import Tensor

from cosmos_lidar.models.sparse.keys import check_coords, pack_keys
from cosmos_lidar.models.sparse.voxels import first_of_each


def decimate(points: Tensor, size: float) -> Tensor:
    """Return (K,) indices of the points that stay: of each cell the lowest one, in the order of cells x, y, z.

    Cells are trunc(p / size), as published: those beside 0 are twice as wide.

    Args:
        points: (N, 3) meters.
        size: of a cell, meters.

    Raises:
        DataError: no points, or too far away for the size, or not finite.
    """
    cells = torch.nn.functional.pad((points / size).trunc().long(), (1, 0))
    check_coords(cells)
    keys, of_point = pack_keys(cells).unique(return_inverse=True)
    return first_of_each(of_point, len(keys))
