"""Rows by group: the rows of each group in order, its first row, and the points of each cell of a grid."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cosmos_lidar.models.sparse.keys import pack_keys


class Cells(NamedTuple):
    """Cells of a grid that have points, in the order of x, y, z.

    Attributes:
        of_point: (N,) int64 cell of each point.
        first: (V,) int64 point of the lowest index of each cell.
    """

    of_point: Tensor
    first: Tensor


def occupied_cells(coords: Tensor) -> Cells:
    """Return the cells that points lie in.

    Args:
        coords: (N, 3) int64 x, y, z of the cell of each point.
    """
    keys, of_point = pack_keys(torch.nn.functional.pad(coords, (1, 0))).unique(return_inverse=True)
    return Cells(of_point, first_of_each(of_point, len(keys)))


def first_of_each(groups: Tensor, count: int) -> Tensor:
    """Return (count,) the lowest index of each group.

    Args:
        groups: (N,) int64 group of each index; every group has one.
        count: of groups.
    """
    indices = torch.arange(len(groups), device=groups.device)
    return groups.new_full((count,), len(groups)).scatter_reduce_(0, groups, indices, "amin")


def sorted_groups(groups: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return (N,) indices group by group, ascending in each, and (count + 1,) where those of each group begin.

    Args:
        groups: (N,) int64 group of each index; groups may have none.
        count: of groups.
    """
    sizes = torch.bincount(groups, minlength=count)
    return groups.argsort(stable=True), torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
