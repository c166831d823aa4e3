"""Haar wavelet patches: a picture of half, quarter, … the size with all detail moved into channels, and back.

One level turns each 2 x 2 block [[a, b], [c, d]] into four signed means: (a+b+c+d)/4, (a+b-c-d)/4, (a-b+c-d)/4 and
(a-b-c+d)/4. Bands are band-major on the channels, and every level decomposes all of them again.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SIGNS = torch.tensor([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]], dtype=torch.float32)


class HaarPatcher2d(nn.Module):
    """(B, C, H, W) -> (B, C p^2, H/p, W/p)."""

    def __init__(self, patch_size: int) -> None:
        super().__init__()
        self.num_levels = patch_size.bit_length() - 1
        # Published state dicts carry these two; the signed means need neither.
        self.register_buffer("wavelets", torch.full((2,), 0.5**0.5))
        self.register_buffer("_arange", torch.arange(2))

    def forward(self, x: Tensor) -> Tensor:
        """Decompose; H and W must be multiples of the patch size."""
        for _ in range(self.num_levels):
            x = _analyse(x)
        return x


class HaarUnpatcher2d(nn.Module):
    """(B, C p^2, H, W) -> (B, C, H p, W p)."""

    def __init__(self, patch_size: int) -> None:
        super().__init__()
        self.num_levels = patch_size.bit_length() - 1
        self.register_buffer("wavelets", torch.full((2,), 0.5**0.5))
        self.register_buffer("_arange", torch.arange(2))

    def forward(self, x: Tensor) -> Tensor:
        """Recompose."""
        for _ in range(self.num_levels):
            x = _synthesise(x)
        return x


def _analyse(x: Tensor) -> Tensor:
    blocks = F.pixel_unshuffle(x, 2).unflatten(1, (x.shape[1], 4))  # (B, C, 4, H/2, W/2): a, b, c, d
    signs = _SIGNS.to(x) / 4.0
    return torch.einsum("sk,bckhw->bschw", signs, blocks).flatten(1, 2)


def _synthesise(x: Tensor) -> Tensor:
    bands = x.unflatten(1, (4, x.shape[1] // 4))  # (B, 4, C, H, W); the matrix of signs is its own inverse, times 4
    return F.pixel_shuffle(torch.einsum("sk,bschw->bckhw", _SIGNS.to(x), bands).flatten(1, 2), 2)
