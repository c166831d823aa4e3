"""Feature extractors of range maps, for a Frechet distance of generated lidar.

The Frechet range distance of LiDARGen (arXiv 2209.03954) takes features of RangeNet-53 (SemanticKITTI), which belongs
to one sensor and one dataset. Anything with the interface of :class:`RangeFeatures` can be used: RangeNet for KITTI, or
:class:`PooledLatents` around a lidar tokenizer, which this project trains for any sensor. Numbers of different networks
cannot be compared, so each carries the name of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol as Interface

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cosmos_lidar.errors import DataError


class RangeFeatures(Interface):
    """Feature extractor of range maps.

    Attributes:
        name: of the network and its weights: numbers of equal names may be compared.
    """

    name: str

    def __call__(self, range_m: np.ndarray) -> np.ndarray:
        """Return (B, D) for range maps (B, rows, columns) in meters, 0 = no return."""


class PooledLatents:
    """Latents of a tokenizer, average-pooled to a coarse grid around the sensor.

    Args:
        encode: (B, rows, columns) meters as a float32 tensor -> latents (B, C, h, w), such as
            ``lambda range_m: tokenizer.encode(prepare_range_map(range_m, sensor.format))``.
        weights: hash of the tokenizer's weights, for the name.
        rows: of the grid.
        columns: of the grid; a vector has C * rows * columns values.
    """

    def __init__(self, encode: Callable[[Tensor], Tensor], weights: str, rows: int = 2, columns: int = 8) -> None:
        self._encode, self._grid = encode, (rows, columns)
        self.name = f"tokenizer latents, mean over {rows} x {columns} parts, weights {weights[:12]}"

    @torch.no_grad()
    def __call__(self, range_m: np.ndarray) -> np.ndarray:
        """Return (B, D) for range maps (B, rows, columns) in meters, 0 = no return.

        Raises:
            DataError: not of three dimensions, or latents smaller than the grid.
        """
        if np.ndim(range_m) != 3:
            raise DataError(f"range maps of {np.shape(range_m)}", wanted="(B, rows, columns)")
        latents = self._encode(torch.as_tensor(range_m, dtype=torch.float32)).float()
        if latents.shape[-2] < self._grid[0] or latents.shape[-1] < self._grid[1]:
            found = f"latents of {latents.shape[-2]} x {latents.shape[-1]}"
            raise DataError(found, wanted=f"at least {self._grid[0]} x {self._grid[1]}, or a coarser grid")
        return F.adaptive_avg_pool2d(latents, self._grid).flatten(1).double().cpu().numpy()
