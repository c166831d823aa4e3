"""Mean and standard deviation of latents per channel, for normalization in latent diffusion."""

from __future__ import annotations

import torch
from torch import Tensor

from cosmos_lidar.errors import DataError


class LatentStatistics:
    """Mean and standard deviation of each channel over any number of latents, in double precision.

    Batches are merged by the method of Chan, Golub and LeVeque (1979): sums of squares about the mean are never
    differences of large numbers.

    Attributes:
        count: values of each channel so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean = self._squares = torch.zeros(0, dtype=torch.float64)

    def add(self, latents: Tensor) -> None:
        """Add latents (B, C, …).

        Raises:
            DataError: another number of channels than before, or values that are not finite.
        """
        values = latents.detach().cpu().double().transpose(0, 1).flatten(1)
        if not self.count:
            self._mean = self._squares = torch.zeros(len(values), dtype=torch.float64)
        if len(values) != len(self._mean):
            raise DataError(f"latents of {len(values)} channels", wanted=f"{len(self._mean)}, as before")
        if not torch.isfinite(values).all():
            raise DataError("latents that are not finite", wanted="a tokenizer and input that give numbers")
        count, mean = values.shape[1], values.mean(1)
        total, shift = self.count + count, mean - self._mean
        self._squares = self._squares + (values - mean[:, None]).square().sum(1)
        self._squares = self._squares + shift.square() * (self.count * count / total)
        self._mean = self._mean + shift * (count / total)
        self.count = total

    def result(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, (C,) float32 each.

        Raises:
            DataError: fewer than two values, or a channel that never changes.
        """
        if self.count < 2:
            raise DataError("no latents", wanted="at least one frame")
        std = (self._squares / self.count).sqrt()
        if not (std > 0).all():
            channel = int((std <= 0).nonzero()[0, 0])
            raise DataError(f"channel {channel} of the latents never changes", wanted="frames that differ")
        return self._mean.float(), std.float()
