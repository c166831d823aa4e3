"""Videos into latents while training; each window of a view is encoded once where latents are kept."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.multiview.config import MultiviewDataConfig
from cosmos_lidar.latents.video_space import VideoEncoding, open_video_space

if TYPE_CHECKING:
    from energon_tasks.multiview import FindLatent, MultiviewBatch

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class WindowLatents:
    """Turns batches of videos into batches of latents.

    Args:
        data: options of the run: the VAE, the latent cache, and the shape that latents must have.

    Raises:
        UserError: a VAE whose latents have another number of channels.
        DataError: a file is missing or not what it should be.
    """

    def __init__(self, data: MultiviewDataConfig) -> None:
        config = data.vae
        encoding = VideoEncoding(window=config.window, batch=config.batch)
        self.space = open_video_space(
            config.checkpoint, dtype=_DTYPES[config.precision], cache=config.cache or None, encoding=encoding
        )
        self.space.vae.requires_grad_(False)
        channels = self.space.vae.config.latent_channels
        if channels != data.latent_shape[0]:
            raise UserError(f"data.latent_shape={data.latent_shape}: {config.checkpoint} has {channels} channels")

    @property
    def find(self) -> FindLatent | None:
        """Finds the latent of a view by its content, in worker processes too; None without a cache."""
        return self.space.finder()

    def __call__(self, batch: MultiviewBatch, device: torch.device) -> MultiviewBatch:
        """Return the batch with the latents of all samples, and without frames; the VAE computes on ``device``."""
        self.space.vae.to(device)
        latents = []
        for frames, found, content in zip(batch.frames, batch.latents, batch.content, strict=True):
            if found is None:
                found = self.space.encode(frames, content).unflatten(1, (len(frames), -1)).transpose(0, 1)
            latents.append(found)
        return dataclasses.replace(batch, frames=[None] * len(latents), latents=latents)
