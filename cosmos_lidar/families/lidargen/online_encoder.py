"""Frames into canvases of latents while training; each is encoded once where latents are kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.lidargen.canvas import CanvasLayout
from cosmos_lidar.families.lidargen.config import TokenizersConfig
from cosmos_lidar.latents.cache import LatentCache, latent_key, weights_hash
from cosmos_lidar.latents.space import LatentSpace, open_space
from cosmos_lidar.weights import file_of

if TYPE_CHECKING:
    from energon_tasks.latents import LatentBatch
    from energon_tasks.views import ViewsBatch

_CANVAS = "canvas"


class FrameLatents:
    """Turns batches of frames into batches of latents.

    Latents are named by the content of the frame, the weights of the tokenizers and the means, and rounded to half
    precision, as those of ``encode-views``.

    Args:
        config: tokenizers, their means, and the folder that latents are kept in.
        layout: of the canvas.

    Raises:
        UserError: a discrete tokenizer, or one that makes latents of other sizes than the canvas has.
        DataError: a file is missing or not what it should be.
    """

    def __init__(self, config: TokenizersConfig, layout: CanvasLayout) -> None:
        self.lidar = _open(file_of(config.lidar, "small-lidar-tokenizer"), config.lidar_mean_std)
        self.image = _open(file_of(config.image, "small-image-tokenizer"), config.image_mean_std)
        self.layout = layout
        self.cache = LatentCache(config.cache) if config.cache else None
        spaces = (self.lidar, self.image)
        means = [part.tolist() for space in spaces for part in (space.mean, space.std)]
        self._weights, self._means = "+".join(weights_hash(space.network) for space in spaces), means

    @property
    def lidar_step(self) -> int:
        """Pixels of a range map that one latent stands for."""
        return self.lidar.network.config.spatial_compression

    def __call__(self, batch: ViewsBatch, device: torch.device) -> LatentBatch:
        """Return the batch with latents in place of images; the tokenizers compute on ``device``.

        Raises:
            UserError: frames that do not fit the canvas.
        """
        from energon_tasks.latents import LatentBatch

        for space in (self.lidar, self.image):
            space.network.to(device)
        canvases = [self._canvas(batch, number) for number in range(len(batch.content))]
        return LatentBatch(
            __key__=batch.__key__,
            __restore_key__=batch.__restore_key__,
            __subflavors__=batch.__subflavors__,
            __sources__=batch.__sources__,
            latents=torch.stack(canvases).float(),
            text=None,
            rays=batch.rays,
            alignment=None,
            controls=None,
            clip_ids=batch.clip_ids,
            noise_seeds=batch.noise_seeds,
        )

    def _canvas(self, batch: ViewsBatch, number: int) -> Tensor:
        def make() -> dict[str, Tensor]:
            return {_CANVAS: self._encode(batch.lidar[number], batch.images[number])}

        if self.cache is None:
            return make()[_CANVAS]
        key = latent_key(batch.content[number], self._weights, means=self._means)
        return self.cache.get_or_make(key, make)[_CANVAS]

    def _encode(self, lidar: Tensor, images: Tensor) -> Tensor:
        step = self.image.network.config.spatial_compression
        sizes = (
            tuple(side // self.lidar_step for side in lidar.shape[-2:]),
            tuple(side // step for side in images.shape[-2:]),
        )
        if (*sizes, len(images)) != (self.layout.lidar, self.layout.image, self.layout.views):
            found = f"range maps of {sizes[0]} latents and {len(images)} images of {sizes[1]}"
            raise UserError(f"{found}: expected those of model.canvas, {self.layout}")
        z = self.layout.place(self.lidar.encode(lidar[None]), self.image.encode(images)[None])[0]
        return z.half()


def _open(checkpoint: str, mean_std: str) -> LatentSpace:
    from cosmos_lidar.models.tokenizer.pretrained import from_pretrained

    return open_space(from_pretrained(checkpoint).requires_grad_(False), Path(mean_std) if mean_std else None)
