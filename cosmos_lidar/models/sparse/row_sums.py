"""Weighted sums of rows: interpolation and averaging between voxels of different strides, with gradients."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from cosmos_lidar.models.sparse.groups import sorted_groups
from cosmos_lidar.models.sparse.keys import pack_keys
from cosmos_lidar.models.sparse.sites import Sites


class RowSums(NamedTuple):
    """out[t] = sum of weight * x[s] over entries (s, t, weight).

    Attributes:
        sources: (E,) int64 rows of the input.
        targets: (E,) int64 rows of the output.
        weights: (E,).
        source_count: rows of the input.
        target_count: rows of the output.
    """

    sources: Tensor
    targets: Tensor
    weights: Tensor
    source_count: int
    target_count: int

    def __call__(self, x: Tensor) -> Tensor:
        """Return the sums, (target_count, C) of x (source_count, C)."""
        return _Sum.apply(x, self)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sums: RowSums) -> Tensor:
        ctx.sums = sums
        return _summed(x, sums.sources, sums.targets, sums.weights, sums.target_count)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        sums = ctx.sums
        return _summed(gradient.contiguous(), sums.targets, sums.sources, sums.weights, sums.source_count), None


def _summed(x: Tensor, sources: Tensor, targets: Tensor, weights: Tensor, count: int) -> Tensor:
    order, bounds = sorted_groups(targets, count)
    factors = weights[order].to(x.dtype)
    return F.embedding_bag(sources[order], x, bounds, mode="sum", per_sample_weights=factors, include_last_offset=True)


def averaging(fine: Sites, coarse: Sites, stride: int) -> RowSums:
    """Return the mean of the fine voxels that lie in each coarse one.

    Args:
        fine: every one of them lies in a coarse voxel.
        coarse: of ``stride`` fine voxels along each axis.
        stride: between them.
    """
    parents = torch.cat([fine.coords[:, :1], _floor(fine.coords[:, 1:], stride)], 1)
    targets, _ = coarse.find(pack_keys(parents))
    counts = torch.bincount(targets, minlength=len(coarse))
    rows = torch.arange(len(fine), device=targets.device)
    return RowSums(rows, targets, 1.0 / counts[targets], len(fine), len(coarse))


def interpolation(coarse: Sites, fine: Sites, stride: int) -> RowSums:
    """Return the trilinear interpolation of coarse voxels at the places of fine ones.

    A coarse voxel stands at its lowest corner. Corners without a voxel count nothing; the weights of the others are
    divided by their sum.

    Args:
        coarse: of ``stride`` fine voxels along each axis.
        fine: where values are wanted.
        stride: between them.
    """
    base = _floor(fine.coords[:, 1:], stride)
    fraction = (fine.coords[:, 1:] - base * stride) / stride
    corners = torch.cartesian_prod(*[torch.arange(2, device=base.device)] * 3)  # (8, 3)
    weights = torch.where(corners == 1, fraction[:, None], 1 - fraction[:, None]).prod(2)  # (N, 8)
    at = base[:, None] + corners
    batch = fine.coords[:, :1, None].expand(-1, 8, -1)
    rows, found = coarse.find(pack_keys(torch.cat([batch, at], 2).flatten(0, 1)).view(-1, 8))
    weights = weights * found
    weights = weights / (weights.sum(1, keepdim=True) + 1e-8)
    used = weights > 0
    return RowSums(rows[used], used.nonzero()[:, 0], weights[used], len(coarse), len(fine))


def _floor(coords: Tensor, stride: int) -> Tensor:
    return coords.div(stride, rounding_mode="floor")
