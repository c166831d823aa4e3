"""Dense counterparts of sparse convolutions, and random voxels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cosmos_lidar.models.sparse import SparseConv3d, SparseTensor


def random_voxels(
    shape: tuple[int, int, int] = (9, 8, 7), share: float = 0.2, channels: int = 3, clouds: int = 2, seed: int = 0
) -> SparseTensor:
    """Return float64 features at random voxels of a grid, in random order."""
    generator = torch.Generator().manual_seed(seed)
    coords = (torch.rand(clouds, *shape, generator=generator) < share).nonzero()
    coords = coords[torch.randperm(len(coords), generator=generator)]
    feats = torch.randn(len(coords), channels, generator=generator, dtype=torch.float64)
    return SparseTensor(coords, feats.requires_grad_(), clouds=clouds, shape=shape)


def dense_kernel(conv: SparseConv3d) -> Tensor:
    """Return the weight (Cout, Cin, kz, ky, kx) of a dense convolution, written out part by part."""
    x, y, z = conv.step.kernel
    weight = conv.parts.new_empty(conv.out_channels, conv.in_channels, z, y, x)
    for part in range(conv.volume):
        if conv.layout == "spconv" or conv.volume % 2:
            i, j, k = part % x, part // x % y, part // (x * y)
        else:
            i, j, k = part // (y * z), part // z % y, part % z
        weight[:, :, k, j, i] = conv.parts[part].t()
    return weight


def dense_output(x: SparseTensor, conv: SparseConv3d) -> Tensor:
    """Return what a dense convolution over all cells gives, (B, Cout, Z, Y, X)."""
    kernel, stride, padding = (tuple(reversed(value)) for value in conv.step)
    if conv.submanifold:
        padding = tuple(size // 2 for size in kernel)
    return F.conv3d(x.dense(), dense_kernel(conv), stride=stride, padding=padding)
