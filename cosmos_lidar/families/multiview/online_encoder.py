"""Videos into latents while training; each window of a view is encoded once where latents are kept."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, cast

import torch
import torch.distributed as dist
from torch import Tensor

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.multiview.config import MultiviewDataConfig
from cosmos_lidar.latents.shared_views import encode_views_shared
from cosmos_lidar.latents.video_space import VideoEncoding, open_video_space
from cosmos_lidar.parallel.exchange import gather_tensors
from cosmos_lidar.weights import file_of

if TYPE_CHECKING:
    from energon_tasks.multiview import FindLatent, MultiviewBatch

VAE_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


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
            file_of(config.checkpoint, "small-multiview-vae"),
            dtype=VAE_DTYPES[config.precision],
            cache=config.cache or None,
            encoding=encoding,
        )
        self.space.vae.requires_grad_(False)
        channels = self.space.vae.config.latent_channels
        if channels != data.latent_shape[0]:
            raise UserError(f"data.latent_shape={data.latent_shape}: {config.checkpoint} has {channels} channels")

    @property
    def find(self) -> FindLatent | None:
        """Finds the latent of a view by its content, in worker processes too; None without a cache."""
        return self.space.finder()

    def __call__(
        self, batch: MultiviewBatch, device: torch.device, group: dist.ProcessGroup | None = None
    ) -> MultiviewBatch:
        """Return the batch with the latents of all samples, and without frames.

        Args:
            batch: of videos, or of latents that were found.
            device: that the VAE computes on.
            group: ranks that share each sample, and with it the work: every one encodes some of the views.
        """
        self.space.vae.to(device)
        samples = zip(batch.frames, batch.latents, batch.content, strict=True)
        encode = self._encode if group is None else partial(self._encode_shared, group)
        latents = [encode(frames, found, content) for frames, found, content in samples]
        range_images = zip(batch.sweeps, batch.sweep_latents, batch.sweep_content, strict=True)
        sweeps = [encode(frames, found, content) if content else None for frames, found, content in range_images]
        none: list[Tensor | None] = [None] * len(latents)
        return dataclasses.replace(batch, frames=none, latents=latents, sweeps=none, sweep_latents=sweeps)

    def _encode(self, frames: Tensor | None, found: Tensor | None, content: list[str]) -> Tensor:
        """Return (V, C, t, h, w)."""
        if frames is None or found is not None:
            return cast(Tensor, found)
        return _view_first(self.space.encode(frames, content), len(content))

    def _encode_shared(
        self, group: dist.ProcessGroup, frames: Tensor | None, found: Tensor | None, content: list[str]
    ) -> Tensor:
        """As :meth:`_encode`, the same on all ranks of a group, of which some may have found the latents."""
        device = next(self.space.vae.parameters()).device
        flags = gather_tensors(torch.tensor([float(found is not None)], device=device), group)
        finder = next((rank for rank, flag in enumerate(flags) if flag.item()), None)
        if finder is None:
            return _view_first(encode_views_shared(self.space, cast(Tensor, frames), group, content), len(content))
        if found is None:
            shape = self.space.vae.config.latent_shape(*cast(Tensor, frames).shape[2:])
            found = torch.empty(len(content), *shape)
        latents = found.to(device, torch.float32)
        dist.broadcast(latents, dist.get_global_rank(group, finder), group=group)
        return latents


def _view_first(latents: Tensor, views: int) -> Tensor:
    """Return (V, C, t, h, w) of latents (C, V t, h, w)."""
    return latents.unflatten(1, (views, -1)).transpose(0, 1)
