"""Haar wavelet transform of clips into patches: 2 x 2 x 2 samples become eight signed means, level by level.

Bands count in binary over (time, height, width), low before high. The first frame is repeated before the transform
(causal padding), so that it alone makes the first patch; its copies are dropped after the inverse.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class _Haar3d(nn.Module):
    def __init__(self, patch_size: int) -> None:
        super().__init__()
        self.patch_size, self.num_levels = patch_size, patch_size.bit_length() - 1
        self.wavelets: Tensor
        self._arange: Tensor
        self.register_buffer("wavelets", torch.full((2,), 0.5**0.5))
        self.register_buffer("_arange", torch.arange(2))

    def _bands(self, x: Tensor) -> Tensor:
        """Return (8 bands, 8 samples) products of the low or high taps of time, height and width."""
        low = self.wavelets.type_as(x)  # not .to(x): a trace would freeze its device and type
        taps = torch.stack((low, low * (1 - 2 * self._arange)))
        return torch.einsum("ia,jb,kc->ijkabc", taps, taps, taps).reshape(8, 8)


class HaarPatcher3d(_Haar3d):
    """(B, C, 1 + k p, H, W) -> (B, C p^3, 1 + k, H/p, W/p)."""

    def __init__(self, patch_size: int) -> None:
        super().__init__(patch_size)
        self.register_buffer("patch_size_buffer", torch.tensor([patch_size], dtype=torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the transform."""
        x = self.filled(x)
        bands = self._bands(x) / 8**0.5
        for _ in range(self.num_levels):
            blocks = x.unflatten(4, (-1, 2)).unflatten(3, (-1, 2)).unflatten(2, (-1, 2))
            blocks = blocks.permute(0, 3, 5, 7, 1, 2, 4, 6).flatten(1, 3)  # (B, 8, C, T/2, H/2, W/2)
            x = torch.einsum("sk,bkcthw->bscthw", bands, blocks).flatten(1, 2)
        return x

    def filled(self, x: Tensor) -> Tensor:
        """Repeat the first frame to a full patch (causal padding)."""
        return torch.cat((x[:, :, :1].expand(-1, -1, self.patch_size - 1, -1, -1), x), dim=2)


class HaarUnpatcher3d(_Haar3d):
    """(B, C p^3, 1 + k, H, W) -> (B, C, 1 + k p, H p, W p)."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the inverse transform."""
        bands = self._bands(x) * 8**0.5
        for _ in range(self.num_levels):
            blocks = torch.einsum("sk,bscthw->bkcthw", bands, x.unflatten(1, (8, x.shape[1] // 8)))
            blocks = blocks.unflatten(1, (2, 2, 2)).permute(0, 4, 5, 1, 6, 2, 7, 3)
            x = blocks.flatten(6, 7).flatten(4, 5).flatten(2, 3)
        return self.emptied(x)

    def emptied(self, x: Tensor) -> Tensor:
        """Drop the causal padding."""
        return x[:, :, self.patch_size - 1 :]
