"""Streaming encoding and decoding of videos with the Wan2.1 VAE: in chunks, equal to one pass.

Of each causal layer the last input frames are kept between chunks, on the network's device. Norms and attention work
frame by frame, so that memory does not grow with the video.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.wan_vae.memory import StreamMemory

if TYPE_CHECKING:
    from cosmos_lidar.models.wan_vae.vae import WanVAE


class _Stream:
    """The state of one video, or of a batch of them, between its chunks."""

    def __init__(self, vae: WanVAE, keep: bool = True) -> None:
        self.vae, self.config = vae, vae.config
        self._memory = StreamMemory(keep)
        self._sizes: tuple[int, ...] | None = None

    @property
    def begun(self) -> bool:
        """Whether a chunk has been computed."""
        return self._memory.begun

    @property
    def memory_bytes(self) -> int:
        """Bytes kept for the next chunk."""
        return self._memory.nbytes

    def _moved(self, x: Tensor) -> Tensor:
        """Return a chunk on the network's device, in its dtype, after comparing its sizes with those of the first."""
        sizes = (x.shape[0], *x.shape[3:])
        if self._sizes not in (None, sizes):
            raise DataError(f"a chunk of (B, H, W) {sizes}", wanted=f"{self._sizes}, as the first chunk had")
        self._sizes = sizes
        parameter = next(self.vae.parameters())
        return x.to(parameter.device, parameter.dtype)


class StreamEncoder(_Stream):
    """Encode one video in chunks: first 1 + 4 k frames, such as one, then 4 k each.

    Args:
        vae: the network.
        keep: False where the first chunk is the whole video.
    """

    @torch.no_grad()
    def __call__(self, frames: Tensor) -> Tensor:
        """Return the normalized latents (B, 16, t, H/8, W/8) of the next frames (B, 3, T, H, W) in [-1, 1].

        Raises:
            DataError: a number of frames that does not fill latents, or sizes that differ from the first chunk.
            UserError: an earlier chunk failed.
        """
        self.vae.check_video(frames)
        single, step = 0 if self.begun else 1, self.config.temporal_compression
        if frames.shape[2] < max(single, 1) or (frames.shape[2] - single) % step:
            wanted = f"{single} + a multiple of {step} frames" if single else f"a multiple of {step} frames"
            raise DataError(f"a chunk of {frames.shape[2]} frames", wanted=wanted)
        x = self._moved(frames)
        with self._memory.chunk() as memory:
            return self.vae.normalize(self.vae.moments(x, memory).chunk(2, dim=1)[0])


class StreamDecoder(_Stream):
    """Decode one video in chunks of any number of latent frames: the first gives one image, each other one four.

    Args:
        vae: the network.
        keep: False where the first chunk is the whole video.
    """

    @torch.no_grad()
    def __call__(self, latents: Tensor) -> Tensor:
        """Return the next images (B, 3, T, 8 h, 8 w) of normalized latents (B, 16, t, h, w), about in [-1, 1].

        Raises:
            DataError: latents of another shape than the network makes, none, or sizes that differ from the first chunk.
            UserError: an earlier chunk failed.
        """
        self.vae.check_latents(latents)
        z = self._moved(latents)
        with self._memory.chunk() as memory:
            return self.vae.images(self.vae.denormalize(z), memory)
