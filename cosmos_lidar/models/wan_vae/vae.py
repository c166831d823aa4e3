"""The Wan2.1 video VAE: videos to normalized latents and back, in windows and tiles, with the published names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.models.plan import ParallelPlan
from cosmos_lidar.models.tiling import TileGrid
from cosmos_lidar.models.wan_vae.config import CONFIGS, WanVAEConfig
from cosmos_lidar.models.wan_vae.frames import check_window, usable_frames, windows
from cosmos_lidar.models.wan_vae.layers import CausalConv3d
from cosmos_lidar.models.wan_vae.memory import StreamMemory
from cosmos_lidar.models.wan_vae.network import COLORS, Decoder, Encoder
from cosmos_lidar.models.wan_vae.streaming import StreamDecoder, StreamEncoder
from cosmos_lidar.models.wan_vae.tiles import decode_tiles, encode_tiles, tile_grid

WINDOW = 4  # frames; the published pipeline takes 16, with the same latents and four times the activations


class WanVAE(nn.Module):
    """Causal video VAE; latents are the encoder's mean, normalized by the latent statistics.

    ``encode`` and ``decode`` compute without gradients.
    """

    def __init__(self, config: WanVAEConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.latent_channels
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.conv1 = CausalConv3d(2 * channels, 2 * channels, (1, 1, 1))
        self.conv2 = CausalConv3d(channels, channels, (1, 1, 1))

    def encode(
        self,
        video: Tensor,
        window: int | None = WINDOW,
        *,
        batch: int = 1,
        tile: int | None = None,
        overlap: int | None = None,
        trim: bool = False,
    ) -> Tensor:
        """Return normalized latents (B, 16, 1 + (T - 1)/4, H/8, W/8) of videos (B, 3, T, H, W) in [-1, 1].

        The result does not depend on ``window`` and ``batch`` but for rounding; with ``tile`` it differs a little near
        the inner edges of tiles, and in attention.

        Args:
            video: on any device; windows are moved to that of the network.
            window: frames that are computed at once, a multiple of 4, after the first one alone; None for all.
            batch: videos, such as the views of a rig, that are computed at once.
            tile: side of squares, in pixels, that are computed one after the other; None for whole images.
            overlap: pixels that tiles share at least; a quarter of them where None.
            trim: drop the last frames that do not fill a latent, which is logged, instead of raising.

        Raises:
            DataError: another shape, or a number of frames other than 4 k + 1 without ``trim``.
            UserError: an impossible window, batch or tile.
        """
        self.check_video(video)
        check_window(window, self.config.temporal_compression)
        video = video[:, :, : usable_frames(video.shape[2], self.config.temporal_compression, trim)]
        step = self.config.spatial_compression
        grid = tile_grid(video.shape[3] // step, video.shape[4] // step, step, tile, overlap)
        encoders = [lambda part: self._encode_windows(part, window)] * len(grid.tiles)
        return _in_batches(video, batch, lambda part: encode_tiles(encoders, part, grid, step))

    def decode(
        self,
        latents: Tensor,
        window: int | None = 1,
        *,
        batch: int = 1,
        tile: int | None = None,
        overlap: int | None = None,
    ) -> Tensor:
        """Return videos (B, 3, 1 + 4 (t - 1), 8 h, 8 w), about in [-1, 1], of normalized latents (B, 16, t, h, w).

        Args:
            latents: on any device.
            window: latent frames that are computed at once; None for all.
            batch: videos that are computed at once.
            tile: side of squares, in pixels of the video, that are computed one after the other; None for whole images.
            overlap: pixels that tiles share at least; a quarter of them where None.

        Raises:
            DataError: another shape.
            UserError: an impossible window, batch or tile.
        """
        self.check_latents(latents)
        _check_latent_window(window)
        grid, step = self._grid(latents, tile, overlap), self.config.spatial_compression
        decoders = [lambda part: self._decode_windows(part, window)] * len(grid.tiles)
        return _in_batches(latents, batch, lambda part: decode_tiles(decoders, part, grid, step))

    def encode_chunks(self, blocks: Iterable[Tensor], window: int = WINDOW, trim: bool = False) -> Iterator[Tensor]:
        """Yield the latents of one video, or batch, as its frames come.

        Args:
            blocks: (B, 3, T, H, W) each, of any numbers of frames.
            window: see :meth:`encode`.
            trim: see :meth:`encode`.

        Raises:
            DataError: see :meth:`encode`; where frames are left over at the end.
        """
        check_window(window, self.config.temporal_compression)
        encode = self.stream_encode()
        for frames in windows(blocks, window, self.config.temporal_compression, trim):
            yield encode(frames)

    def decode_chunks(
        self, latents: Tensor, window: int = 1, *, tile: int | None = None, overlap: int | None = None
    ) -> Iterator[Tensor]:
        """Yield the images of latents in chunks (B, 3, T, H, W), to be written as they come.

        With tiles, all of them keep their memory from chunk to chunk.

        Args:
            latents: (B, 16, t, h, w).
            window: latent frames of a chunk.
            tile: see :meth:`decode`.
            overlap: see :meth:`decode`.
        """
        self.check_latents(latents)
        _check_latent_window(window)
        grid = self._grid(latents, tile, overlap)
        decoders = [self.stream_decode() for _ in grid.tiles]
        for part in latents.split(window, dim=2):
            yield decode_tiles(decoders, part, grid, self.config.spatial_compression)

    def stream_encode(self) -> StreamEncoder:
        """Return an encoder of one video in chunks: 1 + 4 k frames, then 4 k each."""
        return StreamEncoder(self)

    def stream_decode(self) -> StreamDecoder:
        """Return a decoder of one video in chunks of any number of latent frames."""
        return StreamDecoder(self)

    def moments(self, frames: Tensor, memory: StreamMemory) -> Tensor:
        """Return mean and log variance (B, 32, t, h, w), not normalized, of the next frames of a video."""
        return self.conv1(self.encoder(frames, memory), memory)

    def images(self, latents: Tensor, memory: StreamMemory) -> Tensor:
        """Return the next images (B, 3, T, H, W) of latents that are not normalized."""
        return self.decoder(self.conv2(latents, memory), memory)

    def normalize(self, mean: Tensor) -> Tensor:
        """Return (mean - latent mean) / latent std, computed in fp32 or better."""
        shift, scale, exact = self._statistics(mean)
        return ((exact - shift) / scale).to(mean.dtype)

    def denormalize(self, latents: Tensor) -> Tensor:
        """Undo :meth:`normalize`."""
        shift, scale, exact = self._statistics(latents)
        return (exact * scale + shift).to(latents.dtype)

    def check_video(self, video: Tensor) -> None:
        """Validate shape and type of videos, but for the number of frames.

        Raises:
            DataError: not (B, 3, T, H, W) floating-point, H and W multiples of 8.
        """
        step = self.config.spatial_compression
        fits = video.ndim == 5 and video.shape[1] == COLORS and video.numel()
        if not fits or video.shape[3] % step or video.shape[4] % step:
            wanted = f"(B, {COLORS}, T, H, W), H and W multiples of {step}: pad or crop first"
            raise DataError(f"a video of shape {tuple(video.shape)}", wanted=wanted)
        if not video.is_floating_point():
            raise DataError(f"a video of type {video.dtype}", wanted="floating-point values in [-1, 1]")

    def check_latents(self, latents: Tensor) -> None:
        """Validate the shape of latents.

        Raises:
            DataError: not (B, 16, t, h, w), at least one frame.
        """
        channels = self.config.latent_channels
        if latents.ndim != 5 or latents.shape[1] != channels or not latents.numel():
            raise DataError(f"latents of shape {tuple(latents.shape)}", wanted=f"(B, {channels}, t, h, w)")

    def parallel_plan(self) -> ParallelPlan:
        """Return the parallelization plan: FSDP units, and columns of images over context ranks."""
        parts = "encoder.downsamples", "encoder.middle", "decoder.middle", "decoder.upsamples"
        blocks = [f"{part}.{name}" for part in parts for name, _ in self.get_submodule(part).named_children()]
        methods, step = ("encode", "decode", "moments", "images"), self.config.spatial_compression
        return ParallelPlan(blocks=tuple(blocks), methods=methods, context="width", compression=step)

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        exact = like.to(torch.promote_types(like.dtype, torch.float32))
        config = self.config
        mean, std = (exact.new_tensor(values).view(-1, 1, 1, 1) for values in (config.latent_mean, config.latent_std))
        return mean, std, exact

    def _grid(self, latents: Tensor, tile: int | None, overlap: int | None) -> TileGrid:
        return tile_grid(latents.shape[3], latents.shape[4], self.config.spatial_compression, tile, overlap)

    def _encode_windows(self, video: Tensor, window: int | None) -> Tensor:
        if window is None:
            return StreamEncoder(self, keep=False)(video)
        return torch.cat(list(self.encode_chunks([video], window)), dim=2)

    def _decode_windows(self, latents: Tensor, window: int | None) -> Tensor:
        if window is None:
            return StreamDecoder(self, keep=False)(latents)
        return torch.cat(list(self.decode_chunks(latents, window)), dim=2)


def build_vae(name: str = "wan2_1", dim: int = 96, **overrides: Any) -> WanVAE:
    """Return a randomly initialized video VAE; ``dim=8`` gives a small one.

    Args:
        name: key of :data:`~cosmos_lidar.models.wan_vae.config.CONFIGS`.
        dim: base width.
        **overrides: further fields of :class:`WanVAEConfig`.

    Raises:
        UserError: unknown name or field.
    """
    if name not in CONFIGS:
        raise UserError(f"unknown video VAE {name!r}; valid: {', '.join(CONFIGS)}")
    unknown = sorted(set(overrides) - set(WanVAEConfig.__dataclass_fields__))
    if unknown:
        raise UserError(f"unknown field {unknown[0]!r}; valid: {', '.join(WanVAEConfig.__dataclass_fields__)}")
    return WanVAE(replace(CONFIGS[name], dim=dim, **overrides))


def _in_batches(x: Tensor, batch: int, compute: Callable[[Tensor], Tensor]) -> Tensor:
    """Compute videos (B, …) in batches, by default one after the other."""
    if batch < 1:
        raise UserError(f"batch={batch}: expected at least 1 video")
    parts = [compute(part) for part in x.split(batch)]
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _check_latent_window(window: int | None) -> None:
    if window is not None and window < 1:
        raise UserError(f"window={window}: expected at least 1 latent frame, or None for all")
