"""Range maps and the pictures taken with them as latents on one canvas, for camera-to-lidar diffusion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.errors import UserError
from cosmos_lidar.families.lidargen.views import FrameViews, lidar_picture
from cosmos_lidar.models.tokenizer import load_mean_std
from cosmos_lidar.models.tokenizer.video_config import VideoTokenizerConfig
from cosmos_lidar.sensors import restore_range_map
from cosmos_lidar.sensors.sensor import RangeMapFormat


@dataclass(frozen=True)
class LatentSpace:
    """A tokenizer and how its latents are normalised.

    Attributes:
        network: continuous, CI or CV; in evaluation, on the device that it computes on.
        mean: (C,) float32.
        std: (C,) float32.
    """

    network: nn.Module
    mean: Tensor
    std: Tensor

    @torch.inference_mode()
    def encode(self, pictures: Tensor) -> Tensor:
        """Return normalised latents (B, C, h, w) float32 of pictures (B, 3, H, W) in [-1, 1], each by itself."""
        first = next(self.network.parameters())
        x = pictures.to(first.device, first.dtype)
        video = isinstance(self.network.config, VideoTokenizerConfig)
        z = self.network.encode(x[:, :, None])[:, :, 0] if video else self.network.encode(x)
        return ((z.float().cpu() - self.mean.view(-1, 1, 1)) / self.std.view(-1, 1, 1)).clone()

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Return pictures (B, 3, H, W) float32 of normalised latents (B, C, h, w)."""
        first = next(self.network.parameters())
        z = (latents.float() * self.std.view(-1, 1, 1) + self.mean.view(-1, 1, 1)).to(first.device, first.dtype)
        video = isinstance(self.network.config, VideoTokenizerConfig)
        made = self.network.decode(z[:, :, None])[:, :, 0] if video else self.network.decode(z)
        return made.float().cpu()


def open_space(network: nn.Module, mean_std: Path | None) -> LatentSpace:
    """Return the latent space of a tokenizer; without a file of means, latents are taken as they are.

    Raises:
        UserError: a discrete tokenizer.
        DataError: no such file, or not a pair of means and deviations.
    """
    if network.config.family.startswith("D"):
        raise UserError(f"a {network.config.family} tokenizer gives indices: camera-to-lidar diffusion wants CI or CV")
    if mean_std is None:
        channels = network.config.latent_channels
        return LatentSpace(network.eval(), torch.zeros(channels), torch.ones(channels))
    return LatentSpace(network.eval(), *load_mean_std(mean_std))


@dataclass(frozen=True, kw_only=True)
class FrameEncoder(FrameViews):
    """Makes canvases of the frames of clips.

    Attributes:
        lidar: latent space of range maps; its compression is ``lidar_step``.
        image: latent space of pictures; its compression is ``image_step``.
    """

    lidar: LatentSpace
    image: LatentSpace

    def __post_init__(self) -> None:
        """Take the sizes of latents from the networks."""
        object.__setattr__(self, "lidar_step", self.lidar.network.config.spatial_compression)
        object.__setattr__(self, "image_step", self.image.network.config.spatial_compression)

    def __call__(self, clip: Clip, index: int, mirrored: bool = False) -> Tensor:
        """Return the canvas (C, 1 + views, H, W) float32 of one frame.

        Args:
            clip: with cameras.
            index: number of the frame.
            mirrored: of the frame as a mirror shows it; its rays are those of :meth:`rays` mirrored, too.

        Raises:
            DataError: a camera is not there, or has no picture near enough in time.
        """
        pictures, lidar = self.pictures(clip, index), lidar_picture(clip, index, self.lidar_step)
        if mirrored:
            pictures, lidar = pictures.flip(-1), lidar.flip(-1)
        return self.layout(clip.sensor).place(self.lidar.encode(lidar), self.image.encode(pictures)[None])[0]


def restore_ranges(picture: Tensor, format: RangeMapFormat, near_m: float = 1.5, far_m: float = 10.0) -> np.ndarray:
    """Return (rows, columns) metres of a decoded picture (3, H, W); 0 within the published margins of the limits."""
    return restore_range_map(picture.numpy(), format, near_m=near_m, far_m=far_m)
