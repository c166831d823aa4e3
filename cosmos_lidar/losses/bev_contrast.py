"""Contrastive loss of bird's-eye-view cells of two scans, BEVContrast (Sautier et al. 2024, arXiv 2310.17281)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class BevRange(NamedTuple):
    """Rectangle that a bird's-eye-view map covers, in the axes of the sensor.

    Attributes:
        center: x and y, meters.
        half_sides: from the center to the borders along x and y, meters.
    """

    center: tuple[float, float]
    half_sides: tuple[float, float]

    @classmethod
    def of_extent(cls, extent: Sequence[float]) -> BevRange:
        """Return that of a range x, y, z low, then x, y, z high."""
        (x, y), (far_x, far_y) = extent[:2], extent[3:5]
        return cls(((x + far_x) / 2, (y + far_y) / 2), ((far_x - x) / 2, (far_y - y) / 2))


@dataclass(frozen=True)
class BevGrid:
    """Square of bird's-eye-view cells around the sensor.

    Attributes:
        half_extent: from the sensor to the border, meters.
        voxel_size: meters.
        stride: voxels along the side of a cell.
    """

    half_extent: float = 51.2
    voxel_size: float = 0.1
    stride: int = 6

    @property
    def cells(self) -> int:
        """Cells along a side; those that do not fit whole are left out, as published: 170 of 0.6 m."""
        return int(2 * self.half_extent / self.voxel_size / self.stride + 1e-6)

    @property
    def range(self) -> BevRange:
        """What the maps are taken to cover, as published: the whole square, cells that were left out among it."""
        return BevRange((0.0, 0.0), (self.half_extent, self.half_extent))


def bev_means(coords: Tensor, feats: Tensor, minimums: Tensor, grid: BevGrid) -> Tensor:
    """Return (B, C + 1, y cells, x cells): mean features of the voxels of each cell, then 1 where any is.

    Args:
        coords: (V, 4) int64 cloud, x, y, z of voxels.
        feats: (V, C).
        minimums: (B, 3) int64 voxel that ``coords`` 0 stand for, counted from the sensor.
        grid: of the cells.
    """
    count, side = len(minimums), grid.cells
    voxels = coords[:, 1:3] + minimums[coords[:, 0], :2]
    cells = ((voxels + grid.half_extent / grid.voxel_size) / grid.stride).floor().long()
    inside = ((cells >= 0) & (cells < side)).all(1).nonzero()[:, 0]
    rows = (coords[inside, 0] * side + cells[inside, 1]) * side + cells[inside, 0]
    values = torch.cat([feats[inside].float(), feats.new_ones(len(inside), 1, dtype=torch.float32)], 1)
    sums = values.new_zeros(count * side * side, values.shape[1]).index_add(0, rows, values)
    means = sums / sums[:, -1:].clamp(min=1)
    return means.view(count, side, side, -1).permute(0, 3, 1, 2)


def with_occupancy(maps: Tensor, coords: Tensor, stride: int) -> Tensor:
    """Return (B, C + 1, y cells, x cells): maps of a dense network, then 1 where a voxel lies in the cell.

    Args:
        maps: (B, C, y cells, x cells).
        coords: (V, 4) int64 cloud, x, y, z of voxels, counted from the corner of the maps.
        stride: voxels along the side of a cell.
    """
    there = maps.new_zeros(len(maps), 1, *maps.shape[2:])
    there[coords[:, 0], 0, coords[:, 2] // stride, coords[:, 1] // stride] = 1
    return torch.cat([maps, there], 1)


def warped(maps: Tensor, in_SE3_out: Tensor, covered: BevRange | BevGrid) -> Tensor:
    """Return maps of one scan sampled at the cells of another, bilinear, 0 outside.

    Height, roll and pitch of the pose are ignored.

    Args:
        maps: (B, C, y cells, x cells).
        in_SE3_out: (B, 4, 4) pose of the other scan in the axes of these maps.
        covered: by the maps.
    """
    covered = covered.range if isinstance(covered, BevGrid) else covered
    center, half = (in_SE3_out.new_tensor(pair) for pair in (covered.center, covered.half_sides))
    turn = in_SE3_out[:, :2, :2] * (half / half[:, None])  # of places as shares of the half sides
    shift = (in_SE3_out[:, :2, 3] + in_SE3_out[:, :2, :2] @ center - center) / half
    places = F.affine_grid(
        torch.cat([turn, shift[:, :, None]], 2).to(maps.dtype), list(maps.shape), align_corners=False
    )
    return F.grid_sample(maps, places, mode="bilinear", padding_mode="zeros", align_corners=False)


def bev_contrast_loss(
    maps_in: Tensor,
    maps_out: Tensor,
    in_SE3_out: Tensor,
    covered: BevRange | BevGrid,
    temperature: float = 0.07,
    most_cells: int = 4096,
    generator: torch.Generator | None = None,
    gather: Callable[[Tensor], tuple[Tensor, int]] | None = None,
) -> tuple[Tensor, int]:
    """Return (InfoNCE over the cells that both scans of a pair have, their number); 0 with a gradient where none is.

    A cell of the first scan, warped onto the second, is to be nearest to the same cell of the second among the cells of
    all pairs, those of other ranks too with ``gather``.

    Args:
        maps_in: (B, C + 1, y cells, x cells) of the first scans, see :func:`bev_means`.
        maps_out: of the second scans.
        in_SE3_out: (B, 4, 4) poses of the second scans in the axes of the first.
        covered: by the maps.
        temperature: that cosines are divided by.
        most_cells: at random, of the whole batch.
        generator: of these, on the CPU.
        gather: own rows -> (rows of all ranks, row that the own ones begin at), so that the cells of other ranks are
            compared with, too; None: those of this rank alone.
    """
    moved = warped(maps_in, in_SE3_out, covered)
    common = ((moved[:, -1] > 0) & (maps_out[:, -1] > 0)).flatten().nonzero()[:, 0]
    if len(common) > most_cells:
        kept = torch.randperm(len(common), generator=generator)[:most_cells]
        common = common[kept.to(common.device)]
    first, second = (F.normalize(_rows(maps, common), dim=1) for maps in (moved, maps_out))
    others, own = (second, 0) if gather is None else gather(second)
    logits = first @ others.t() / temperature
    total = F.cross_entropy(logits, own + torch.arange(len(common), device=logits.device), reduction="sum")
    return total / max(len(common), 1), len(common)


def _rows(maps: Tensor, cells: Tensor) -> Tensor:
    return maps[:, :-1].permute(0, 2, 3, 1).flatten(0, 2)[cells]
