"""Haar wavelet transform of images into patches, and its inverse.

One level turns each 2 x 2 block [[a, b], [c, d]] into four signed means: (a+b+c+d)/4, (a+b-c-d)/4, (a-b+c-d)/4 and
(a-b-c+d)/4. Channels are band-major, and every level decomposes all bands again.

The taps are taken from the published buffers, not from exact constants: networks that were trained in bfloat16 carry
0.70703125 for the square root of one half, and expect its gain.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Haar2d(nn.Module):
    def __init__(self, patch_size: int) -> None:
        super().__init__()
        self.num_levels = patch_size.bit_length() - 1
        self.wavelets: Tensor
        self._arange: Tensor
        self.register_buffer("wavelets", torch.full((2,), 0.5**0.5))
        self.register_buffer("_arange", torch.arange(2))

    def _bands(self, x: Tensor) -> Tensor:
        """Return (4 bands, 4 pixels a b c d): products of the low or high taps of rows and of columns."""
        low = self.wavelets.type_as(x)  # not .to(x): a trace would freeze its device and type
        taps = torch.stack((low, low * (1 - 2 * self._arange)))  # (band, pixel); high is [s, -s]
        return torch.einsum("jc,ir->jirc", taps, taps).reshape(4, 4)


class HaarPatcher2d(_Haar2d):
    """(B, C, H, W) -> (B, C p^2, H/p, W/p)."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the transform; H and W must be multiples of the patch size."""
        bands = self._bands(x) / 2
        for _ in range(self.num_levels):
            blocks = F.pixel_unshuffle(x, 2).unflatten(1, (x.shape[1], 4))  # (B, C, 4, H/2, W/2): a, b, c, d
            x = torch.einsum("sk,bckhw->bschw", bands, blocks).flatten(1, 2)
        return x


class HaarUnpatcher2d(_Haar2d):
    """(B, C p^2, H, W) -> (B, C, H p, W p)."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the inverse transform."""
        bands = self._bands(x) * 2
        for _ in range(self.num_levels):
            blocks = x.unflatten(1, (4, x.shape[1] // 4))
            x = F.pixel_shuffle(torch.einsum("sk,bschw->bckhw", bands, blocks).flatten(1, 2), 2)
        return x
