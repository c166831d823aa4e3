"""Latent space of a tokenizer: encoding and decoding with latents normalized by mean and standard deviation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.tokenizer import ContinuousTokenizer, Tokenizer, load_mean_std
from cosmos_lidar.models.tokenizer.video_config import VideoTokenizerConfig


@dataclass(frozen=True)
class LatentSpace:
    """A tokenizer with the mean and standard deviation of its latents.

    Attributes:
        network: continuous, CI or CV; in eval mode, on its device.
        mean: (C,) float32.
        std: (C,) float32.
    """

    network: ContinuousTokenizer
    mean: Tensor
    std: Tensor

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        """Return normalized latents (B, C, h, w) float32 of images (B, 3, H, W) in [-1, 1], encoded one by one."""
        first = next(self.network.parameters())
        x = images.to(first.device, first.dtype)
        video = isinstance(self.network.config, VideoTokenizerConfig)
        z = self.network.encode(x[:, :, None])[:, :, 0] if video else self.network.encode(x)
        return ((z.float().cpu() - self.mean.view(-1, 1, 1)) / self.std.view(-1, 1, 1)).clone()

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Return images (B, 3, H, W) float32 of normalized latents (B, C, h, w)."""
        first = next(self.network.parameters())
        z = (latents.float() * self.std.view(-1, 1, 1) + self.mean.view(-1, 1, 1)).to(first.device, first.dtype)
        video = isinstance(self.network.config, VideoTokenizerConfig)
        made = self.network.decode(z[:, :, None])[:, :, 0] if video else self.network.decode(z)
        return made.float().cpu()


def open_space(network: Tokenizer, mean_std: Path | None) -> LatentSpace:
    """Return the latent space of a tokenizer; latents are not normalized without ``mean_std``.

    Raises:
        UserError: a discrete tokenizer.
        DataError: no such file, or not a pair of means and deviations.
    """
    if not isinstance(network, ContinuousTokenizer):
        raise UserError(f"a {network.config.family} tokenizer gives indices: camera-to-lidar diffusion takes CI or CV")
    if mean_std is None:
        channels = network.config.latent_channels
        return LatentSpace(network.eval(), torch.zeros(channels), torch.ones(channels))
    return LatentSpace(network.eval(), *load_mean_std(mean_std))
