"""Images and videos of any length and size to latents and back, in memory that does not grow with the length.

Numbers are those of the published inference: uint8 / 255 * 2 - 1 on the way in, floor(255 x + 0.5) on the way out. What
differs: time is streamed exactly instead of cut into independent windows, sizes are filled up by repeating edges
instead of black, time by repeating the last frame at the end instead of on both sides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.models.tiling import TileGrid
from cosmos_lidar.models.tokenizer.network import DiscreteTokenizer, Tokenizer
from cosmos_lidar.models.tokenizer.streaming import StreamingDecoder, StreamingEncoder
from cosmos_lidar.models.tokenizer.video_config import VideoTokenizerConfig

_OVERLAP = 4  # of the tile's side is a quarter shared with each neighbor


@dataclass(frozen=True)
class EncodedVideo:
    """A video as a tokenizer gives it.

    Attributes:
        latents: (C, t, h, w) of a continuous tokenizer, on the CPU; else None.
        indices: (t, h, w) int32 of a discrete one; else None.
        frames: images of the video.
        height: of its images.
        width: of its images.
        crop: first frame, row and column, and those past the last, of the video within what the latents decode to.
    """

    latents: Tensor | None
    indices: Tensor | None
    frames: int
    height: int
    width: int
    crop: tuple[int, int, int, int, int, int]


class VideoCodec:
    """Encodes and decodes with one network, images (CI, DI) or videos (CV, DV).

    Args:
        network: the tokenizer; it is moved, and put into evaluation.
        device: to compute on.
        dtype: of the computation.
        chunk: latent frames that are worked on at once; more are faster on a GPU, and need more memory.
        tile: side of the squares, in pixels, that larger images are divided into; None for whole images.
        window: latent frames that attention over time looks back on; None for all, which is exact.

    Raises:
        UserError: a chunk or window of nothing, or tiles that are too small.
    """

    def __init__(
        self,
        network: Tokenizer,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        chunk: int = 2,
        tile: int | None = None,
        window: int | None = None,
    ) -> None:
        config = network.config
        self.step = config.spatial_compression
        self.temporal = isinstance(config, VideoTokenizerConfig)
        self.frames_per_latent = config.temporal_compression if isinstance(config, VideoTokenizerConfig) else 1
        if window is not None and window < 1:
            raise UserError(f"window {window}: at least 1 latent frame, or None for all")
        if chunk < 1 or (tile is not None and tile < 8 * self.step):
            raise UserError(f"chunk {chunk}, tile {tile}: at least 1, and at least {8 * self.step} pixels")
        self.network = network.to(device, dtype).eval().requires_grad_(False)
        self.discrete = isinstance(network, DiscreteTokenizer)
        self.device, self.dtype, self.chunk, self.window = torch.device(device), dtype, chunk, window
        self.tile = tile // self.step if tile else None

    def encode(self, frames: np.ndarray | Iterable[np.ndarray]) -> EncodedVideo:
        """Return the latents, or indices, of a video.

        Args:
            frames: (T, H, W, 3) uint8 RGB, or blocks of that, of any length; also gray (T, H, W) or (T, H, W, 1), and
                with alpha, (T, H, W, 4), which is dropped.

        Raises:
            DataError: no frames, another type or number of channels, or frames that change their size.
        """
        parts: list[Tensor] = []
        count, grid = 0, None
        for block in self._chunks(_checked(frames)):
            if grid is None:
                height, width = block.shape[1:3]
                grid = self._grid(-(-height // self.step), -(-width // self.step))
                encoders = [self._encoder() for _ in grid.tiles]
            count += len(block)
            parts.append(self._encode_chunk(block, grid, encoders))
        if grid is None:
            raise DataError("no frames", wanted="at least one")
        whole = torch.cat(parts, dim=0 if self.discrete else 1)
        top, left = (grid.rows * self.step - height) // 2, (grid.columns * self.step - width) // 2
        crop = (0, top, left, count, top + height, left + width)
        latents, indices = (None, whole) if self.discrete else (whole, None)
        return EncodedVideo(latents, indices, count, height, width, crop)

    def decode(self, encoded: EncodedVideo) -> Iterator[np.ndarray]:
        """Yield the video in blocks (t, H, W, 3) uint8, together ``encoded.frames`` images.

        Raises:
            DataError: latents of another network, indices out of range, or a crop that reaches beyond the images.
        """
        latents = self._codes(encoded)
        self._expect_crop_within(encoded.crop, latents)
        grid = self._grid(latents.shape[-2], latents.shape[-1])
        decoders = [StreamingDecoder(self.network, self.window) if self.temporal else None for _ in grid.tiles]
        first, top, left, last, bottom, right = encoded.crop
        begin = 0
        for part in latents.split(self.chunk, dim=1):
            images = to_uint8(self._decode_chunk(part, grid, decoders))
            wanted = images[max(first - begin, 0) : max(last - begin, 0), top:bottom, left:right]
            begin += len(images)
            if len(wanted):
                yield wanted

    def _expect_crop_within(self, crop: tuple[int, ...], latents: Tensor) -> None:
        frames, rows, columns = latents.shape[1:]
        shape = (1 + (frames - 1) * self.frames_per_latent, rows * self.step, columns * self.step)
        if frames < 1 or any(not 0 <= a < b <= side for a, b, side in zip(crop[:3], crop[3:], shape, strict=True)):
            raise DataError(f"latents of {shape} frames, rows, columns", wanted=f"what the crop {tuple(crop)} takes")

    def _grid(self, rows: int, columns: int) -> TileGrid:
        return TileGrid(rows, columns, self.tile, (self.tile or 0) // _OVERLAP)

    def _encoder(self) -> StreamingEncoder | None:
        return StreamingEncoder(self.network, self.window) if self.temporal else None

    def _chunks(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield blocks that fill ``chunk`` latents each, whatever the blocks that come in; the last may be shorter."""
        step, size = self.frames_per_latent, None
        waiting: list[np.ndarray] = []
        want = 1 + (self.chunk - 1) * step
        for block in blocks:
            if size is not None and block.shape[1:3] != size:
                found = f"frames of {block.shape[1]} x {block.shape[2]}"
                raise DataError(found, wanted=f"{size[0]} x {size[1]}, as the first ones")
            size = block.shape[1:3]
            waiting.append(block)
            while sum(map(len, waiting)) >= want:
                whole = np.concatenate(waiting)
                yield whole[:want]
                waiting, want = [whole[want:]], self.chunk * step
        rest = np.concatenate(waiting) if waiting else np.empty((0, 0, 0, 3), np.uint8)
        if len(rest):
            yield rest

    def _encode_chunk(self, block: np.ndarray, grid: TileGrid, encoders: list[StreamingEncoder | None]) -> Tensor:
        """Return latents (C, t, h, w) or indices (t, h, w) of (T, H, W, 3)."""
        begun = encoders[0] is not None and encoders[0].begun
        x = from_uint8(self._filled(block, grid, begun), self.dtype)
        made = None
        for (rows, columns), encoder in zip(grid.tiles, encoders, strict=True):
            down, across = (slice(span.start * self.step, span.stop * self.step) for span in (rows, columns))
            part = self._encode_tile(x[..., down, across].to(self.device), encoder)
            if made is None:
                made = part.new_empty((*part.shape[:-2], grid.rows, grid.columns))
            inside = part[..., rows.kept, columns.kept]
            made[..., rows.keep_start : rows.keep_stop, columns.keep_start : columns.keep_stop] = inside
        return cast(Tensor, made)

    @torch.inference_mode()
    def _encode_tile(self, x: Tensor, encoder: StreamingEncoder | None) -> Tensor:
        """Map (3, T, H, W) to (C, t, h, w) or (t, h, w), on the CPU."""
        if encoder is not None:
            made = encoder(x[None])
            return (made[0] if self.discrete else made)[0].cpu()
        made = self.network.encode(x.transpose(0, 1))
        return made[0].cpu() if isinstance(made, tuple) else made.transpose(0, 1).cpu()

    def _filled(self, block: np.ndarray, grid: TileGrid, begun: bool) -> np.ndarray:
        """Repeat edges until images fill latents, and the last frame until time does."""
        height, width = block.shape[1:3]
        down, right = grid.rows * self.step - height, grid.columns * self.step - width
        missing = -(len(block) - (0 if begun else 1)) % self.frames_per_latent if self.temporal else 0
        margins = ((0, missing), (down // 2, down - down // 2), (right // 2, right - right // 2), (0, 0))
        return np.pad(block, margins, mode="edge")

    @torch.inference_mode()
    def _codes(self, encoded: EncodedVideo) -> Tensor:
        """Return what the decoder takes, (C, t, h, w)."""
        config = self.network.config
        if isinstance(self.network, DiscreteTokenizer):
            if encoded.indices is None:
                raise DataError("continuous latents", wanted=f"indices, for a {config.family} tokenizer")
            return self.network.quantizer.indices_to_codes(encoded.indices.to(self.device)[None])[0].to(self.dtype)
        if encoded.latents is None or encoded.latents.shape[0] != config.latent_channels:
            found = "indices" if encoded.latents is None else f"latents of {encoded.latents.shape[0]} channels"
            raise DataError(found, wanted=f"latents of {config.latent_channels}, for a {config.family} tokenizer")
        return encoded.latents

    @torch.inference_mode()
    def _decode_chunk(self, z: Tensor, grid: TileGrid, decoders: list[StreamingDecoder | None]) -> Tensor:
        """Map (C, t, h, w) to images (3, T, h c, w c) on the CPU; tiles fade into each other."""
        total = weights = None
        for (rows, columns), decoder in zip(grid.tiles, decoders, strict=True):
            cut = z[..., rows.start : rows.stop, columns.start : columns.stop].to(self.device, self.dtype)
            made = self._decode_tile(cut, decoder).float().cpu()
            if len(grid.tiles) == 1:
                return made
            if total is None or weights is None:
                total = made.new_zeros((*made.shape[:2], grid.rows * self.step, grid.columns * self.step))
                weights = made.new_zeros(total.shape[-2:])
            down, across = (slice(span.start * self.step, span.stop * self.step) for span in (rows, columns))
            weight = grid.weight(rows, columns, self.step)
            total[..., down, across] += made * weight
            weights[down, across] += weight
        return cast(Tensor, total) / cast(Tensor, weights)

    def _decode_tile(self, z: Tensor, decoder: StreamingDecoder | None) -> Tensor:
        if decoder is not None:
            return decoder(z[None])[0]
        return self.network.decode(z.transpose(0, 1)).transpose(0, 1)


def from_uint8(frames: np.ndarray, dtype: torch.dtype) -> Tensor:
    """Return (3, T, H, W) in [-1, 1] of (T, H, W, 3) uint8."""
    x = torch.from_numpy(np.ascontiguousarray(frames)).permute(3, 0, 1, 2)
    return (x.float() / 255.0 * 2.0 - 1.0).to(dtype)


def to_uint8(images: Tensor) -> np.ndarray:
    """Return (T, H, W, 3) uint8 of (3, T, H, W): floor(255 (x + 1) / 2 + 0.5), clamped."""
    x = ((images.float() + 1.0) / 2.0).clamp(0.0, 1.0)
    return (x * 255.0 + 0.5).floor().to(torch.uint8).permute(1, 2, 3, 0).cpu().numpy()


def _checked(frames: np.ndarray | Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield blocks as (T, H, W, 3) uint8."""
    for block in [frames] if isinstance(frames, np.ndarray) else frames:
        if block.dtype != np.uint8:
            raise DataError(f"frames of type {block.dtype}", wanted="uint8, 0 to 255")
        lone = block.ndim == 3 and block.shape[2] in (3, 4)  # one image, or many gray ones 3 pixels wide: hardly
        block = block[..., None] if block.ndim == 3 and not lone else block
        if block.ndim != 4 or block.shape[3] not in (1, 3, 4):
            raise DataError(f"frames of shape {block.shape}", wanted="(T, H, W, 3) RGB, gray, or RGB with alpha")
        yield np.repeat(block, 3, axis=3) if block.shape[3] == 1 else block[..., :3]
