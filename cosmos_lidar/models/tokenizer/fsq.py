"""Finite scalar quantization (Mentzer et al. 2023, arXiv 2309.15505): each channel is rounded to a few levels."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cosmos_lidar.errors import DataError

_SLACK = 1e-3  # keeps tanh away from the outermost rounding edges


class FSQ(nn.Module):
    """Quantizer without parameters; levels (8, 8, 8, 5, 5, 5) give 64,000 codes."""

    def __init__(self, levels: tuple[int, ...]) -> None:
        super().__init__()
        sizes = torch.tensor(levels, dtype=torch.int32)
        basis = torch.cumprod(torch.tensor((1, *levels[:-1])), dim=0).int()
        self.codebook_size = math.prod(levels)
        self._levels: Tensor
        self._basis: Tensor
        self.register_buffer("_levels", sizes)
        self.register_buffer("_basis", basis)
        self.register_buffer("implicit_codebook", self._codes(torch.arange(self.codebook_size)))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Quantize with a straight-through gradient.

        Args:
            z: (B, C, …) with one channel per level.

        Returns:
            indices (B, …) int32 and codes (B, C, …) in [-1, 1], of the type of ``z``.
        """
        shape = (-1, *([1] * (z.ndim - 2)))
        levels = self._levels.float().view(shape)
        half = (levels - 1) * (1 + _SLACK) / 2
        offset = torch.where(levels % 2 == 0, 0.5, 0.0)
        bounded = torch.tanh(z + torch.atanh(offset / half)) * half - offset  # float32 for bfloat16 z as well
        rounded = bounded.round().detach() + (bounded - bounded.detach())  # in this order the value is exact
        width = (self._levels // 2).float().view(shape)
        digits = (rounded + width).to(torch.int32)
        indices = (digits * self._basis.view(shape)).sum(1, dtype=torch.int32)
        return indices, (rounded / width).type_as(z)  # not .to(z.dtype): a traced network may be cast later

    def indices_to_codes(self, indices: Tensor) -> Tensor:
        """Return (B, C, …) float32 codes of (B, …) integer indices.

        Raises:
            DataError: an index outside the codebook, or no integers.
        """
        if indices.is_floating_point():
            raise DataError(f"indices of type {indices.dtype}", wanted="integers, as encode gives them")
        if not torch.jit.is_tracing() and indices.numel():
            low, high = int(indices.min()), int(indices.max())
            if low < 0 or high >= self.codebook_size:
                raise DataError(f"indices from {low} to {high}", wanted=f"0 to {self.codebook_size - 1}")
        return self._codes(indices).movedim(-1, 1).contiguous()

    def _codes(self, indices: Tensor) -> Tensor:
        digits = (indices[..., None] // self._basis) % self._levels
        width = self._levels // 2
        return (digits - width) / width
