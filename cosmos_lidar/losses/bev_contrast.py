"""Contrastive loss of bird's-eye-view cells of two scans, BEVContrast (Sautier et al. 2024, arXiv 2310.17281)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


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


def warped(maps: Tensor, in_SE3_out: Tensor, grid: BevGrid) -> Tensor:
    """Return maps of one scan sampled at the cells of another, bilinear, 0 outside.

    Height, roll and pitch of the pose are ignored.

    Args:
        maps: (B, C, y cells, x cells).
        in_SE3_out: (B, 4, 4) pose of the other scan in the axes of these maps.
        grid: of the cells.
    """
    turn, shift = in_SE3_out[:, :2, :2], in_SE3_out[:, :2, 3:] / grid.half_extent
    places = F.affine_grid(torch.cat([turn, shift], 2).to(maps.dtype), list(maps.shape), align_corners=False)
    return F.grid_sample(maps, places, mode="bilinear", padding_mode="zeros", align_corners=False)


def bev_contrast_loss(
    maps_in: Tensor,
    maps_out: Tensor,
    in_SE3_out: Tensor,
    grid: BevGrid,
    temperature: float = 0.07,
    most_cells: int = 4096,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, int]:
    """Return (InfoNCE over the cells that both scans of a pair have, their number); 0 with a gradient where none is.

    A cell of the first scan, warped onto the second, is to be nearest to the same cell of the second among the cells of
    all pairs.

    Args:
        maps_in: (B, C + 1, y cells, x cells) of the first scans, see :func:`bev_means`.
        maps_out: of the second scans.
        in_SE3_out: (B, 4, 4) poses of the second scans in the axes of the first.
        grid: of the cells.
        temperature: that cosines are divided by.
        most_cells: at random, of the whole batch.
        generator: of these, on the CPU.
    """
    moved = warped(maps_in, in_SE3_out, grid)
    common = ((moved[:, -1] > 0) & (maps_out[:, -1] > 0)).flatten().nonzero()[:, 0]
    if len(common) > most_cells:
        kept = torch.randperm(len(common), generator=generator)[:most_cells]
        common = common[kept.to(common.device)]
    first, second = (_rows(maps, common) for maps in (moved, maps_out))
    logits = F.normalize(first, dim=1) @ F.normalize(second, dim=1).t() / temperature
    total = F.cross_entropy(logits, torch.arange(len(common), device=logits.device), reduction="sum")
    return total / max(len(common), 1), len(common)


def _rows(maps: Tensor, cells: Tensor) -> Tensor:
    return maps[:, :-1].permute(0, 2, 3, 1).flatten(0, 2)[cells]
