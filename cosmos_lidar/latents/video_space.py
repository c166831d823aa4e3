"""Latent space of videos from several cameras: latents of the Wan2.1 VAE, view by view, each encoded once.

Entries of the cache are single views, named by the content of their frames, the weights, and every setting that changes
latents: clips that share cameras, in any order, share entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cosmos_lidar.errors import DataError
from cosmos_lidar.latents.cache import LatentCache, frames_hash, latent_key, weights_hash
from cosmos_lidar.models.wan_vae import WanVAE, load_vae
from cosmos_lidar.models.wan_vae.frames import usable_frames

_LATENTS = "latents"  # tensor of an entry


@dataclass(frozen=True)
class VideoEncoding:
    """How videos are encoded.

    Attributes:
        window: frames that are computed at once; latents do not depend on it.
        batch: views that are computed at once; latents do not depend on it.
        tile: side of squares, in pixels, that are computed one after the other; None for whole images.
        overlap: pixels that tiles share at least; a quarter of them where None.
        trim: drop the last frames that fill no latent, which is logged and counted, instead of raising.
        tf32: let a GPU round fp32 convolutions to TF32: faster, latents differ by about 1e-3.
    """

    window: int | None = 4
    batch: int = 1
    tile: int | None = None
    overlap: int | None = None
    trim: bool = False
    tf32: bool = False


class VideoLatentSpace:
    """Encodes and decodes clips of several cameras, laid out view after view along time.

    Args:
        vae: in eval mode, on its device; fp32 for latents that are stored.
        cache: where latents of views are stored; None for nowhere.
        encoding: how they are computed.

    Attributes:
        trimmed_frames: frames that were dropped so far, of all views.
    """

    def __init__(
        self, vae: WanVAE, cache: LatentCache | None = None, encoding: VideoEncoding = VideoEncoding()
    ) -> None:
        self.vae, self.cache, self.encoding = vae, cache, encoding
        self.trimmed_frames = 0
        self._settings = _settings(vae, encoding)
        self._weights = weights_hash(vae) if cache is not None else ""

    @torch.no_grad()
    def encode(self, videos: Tensor, hashes: Sequence[str] | None = None) -> Tensor:
        """Return normalized latents (16, V · t, h, w) float32, on the CPU, of videos (V, 3, T, H, W).

        Views whose latents are in the cache are not encoded.

        Args:
            videos: uint8, or floating-point in [-1, 1].
            hashes: of the content of each view, where known: :func:`view_hash`, of the frames that are used.

        Raises:
            DataError: another shape, or a number of frames other than 4 k + 1 without ``encoding.trim``.
        """
        self.check(videos)
        if hashes is not None and len(hashes) != len(videos):
            raise DataError(f"{len(hashes)} hashes of {len(videos)} views", wanted="one of each view")
        videos = self._trimmed(videos)
        if self.cache is None:
            found = self._encode(videos, range(len(videos)))
        else:
            found = self._from_cache(self.cache, videos, hashes)
        return torch.cat([found[number].float() for number in range(len(videos))], dim=1)

    @torch.no_grad()
    def decode(self, latents: Tensor, views: int) -> Tensor:
        """Return videos (V, 3, T, H, W) float32, on the CPU, of normalized latents (16, V · t, h, w).

        Args:
            latents: of all views, one after the other.
            views: their number.

        Raises:
            DataError: another shape, or a number of frames that ``views`` does not divide.
        """
        if latents.ndim != 4 or views < 1 or latents.shape[1] % views:
            wanted = f"(16, {views} t, h, w), of {views} views"
            raise DataError(f"latents of shape {tuple(latents.shape)}", wanted=wanted)
        options: dict[str, Any] = {"tile": self.encoding.tile, "overlap": self.encoding.overlap}
        parts = latents.unflatten(1, (views, -1)).transpose(0, 1).split(self.encoding.batch)
        with self._precision():
            made = [self.vae.decode(part, batch=len(part), **options).float().cpu() for part in parts]
        return torch.cat(made)

    def check(self, videos: Tensor) -> None:
        """Validate the shape of the videos of a clip.

        Raises:
            DataError: not (V, 3, T, H, W), H and W multiples of 8, uint8 or floating-point; frames that fill no latent,
                without ``encoding.trim``.
        """
        if videos.ndim != 5 or not len(videos):
            raise DataError(f"videos of shape {tuple(videos.shape)}", wanted="(V, 3, T, H, W)")
        self.vae.check_video(videos[:1, :, :1].float() if videos.dtype == torch.uint8 else videos[:1])
        if not self.encoding.trim:
            usable_frames(videos.shape[2], self.vae.config.temporal_compression)

    def finder(self) -> StoredViews | None:
        """Return what looks for the latents of a view in the cache, without the VAE; None without a cache."""
        return None if self.cache is None else StoredViews(self.cache, self._weights, self._settings)

    def _trimmed(self, videos: Tensor) -> Tensor:
        frames = usable_frames(videos.shape[2], self.vae.config.temporal_compression, self.encoding.trim)
        self.trimmed_frames += (videos.shape[2] - frames) * len(videos)
        return videos[:, :, :frames]

    def _from_cache(self, cache: LatentCache, videos: Tensor, hashes: Sequence[str] | None) -> dict[int, Tensor]:
        """Return the latents of each view by its number, those that were missing encoded and stored."""
        contents = hashes or [view_hash(video) for video in videos]
        keys = [latent_key(content, self._weights, **self._settings) for content in contents]
        entries = [cache.get(key) for key in keys]
        found = {number: entry[_LATENTS] for number, entry in enumerate(entries) if entry is not None}
        for number, latents in self._encode(videos, [n for n in range(len(videos)) if n not in found]).items():
            cache.put(keys[number], {_LATENTS: latents})
            found[number] = latents
        return found

    def _encode(self, videos: Tensor, numbers: Sequence[int]) -> dict[int, Tensor]:
        """Return the latents (16, t, h, w) of some views by their numbers, in the dtype of the network."""
        found: dict[int, Tensor] = {}
        options: Mapping[str, Any] = {"tile": self.encoding.tile, "overlap": self.encoding.overlap}
        with self._precision():
            for start in range(0, len(numbers), self.encoding.batch):
                some = list(numbers[start : start + self.encoding.batch])
                frames = _floating(videos[some], next(self.vae.parameters()).device)
                z = self.vae.encode(frames, self.encoding.window, batch=len(some), **options)
                found.update(zip(some, z.cpu(), strict=True))
        return found

    def _precision(self) -> Any:
        return full_precision(next(self.vae.parameters()).device, self.encoding.tf32)


@dataclass(frozen=True)
class StoredViews:
    """Looks for latents of views in a cache by the hash of their content: (16, t, h, w), or None. It can be pickled.

    Attributes:
        cache: of the latents.
        weights: hash of the VAE's weights.
        settings: what else latents depend on.
    """

    cache: LatentCache
    weights: str
    settings: Mapping[str, Any]

    def __call__(self, content: str) -> Tensor | None:
        """Return the latents of a view, or None."""
        entry = self.cache.get(latent_key(content, self.weights, **self.settings))
        return None if entry is None else entry[_LATENTS]


def open_video_space(
    checkpoint: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    dim: int | None = None,
    cache: str | Path | None = None,
    encoding: VideoEncoding = VideoEncoding(),
) -> VideoLatentSpace:
    """Return the latent space of a VAE's file.

    Args:
        checkpoint: see :func:`~cosmos_lidar.models.wan_vae.load_vae`.
        device: to compute on.
        dtype: of the network; fp32 for latents that are stored.
        dim: width that the VAE must have; that of the file where None.
        cache: folder of the latent cache; none where empty.
        encoding: how videos are encoded.

    Raises:
        DataError: no such file, or not a Wan2.1 VAE.
    """
    vae = load_vae(checkpoint, dim, dtype).to(device)
    return VideoLatentSpace(vae, LatentCache(cache) if cache else None, encoding)


def view_hash(video: Tensor) -> str:
    """Return a SHA-256 of the frames of one view, (3, T, H, W) of any dtype."""
    return frames_hash(video.detach().cpu().transpose(0, 1).contiguous().numpy())


@contextmanager
def full_precision(device: torch.device, tf32: bool = False) -> Iterator[None]:
    """Compute fp32 convolutions of a CUDA device in fp32 inside the ``with`` block; its default is TF32.

    Args:
        device: nothing changes for others than CUDA.
        tf32: leave the default.
    """
    if device.type != "cuda" or tf32:
        yield
        return
    conv = getattr(torch.backends.cudnn, "conv", None)  # since torch 2.9
    owner, name, exact = (
        (torch.backends.cudnn, "allow_tf32", False) if conv is None else (conv, "fp32_precision", "ieee")
    )
    before = getattr(owner, name)
    setattr(owner, name, exact)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _settings(vae: WanVAE, encoding: VideoEncoding) -> dict[str, object]:
    """Return what latents depend on beside frames and weights."""
    parameter = next(vae.parameters())
    return {
        "vae": "wan2_1",
        "mean": list(vae.config.latent_mean),
        "std": list(vae.config.latent_std),
        "dtype": str(parameter.dtype),
        "tile": encoding.tile,
        "overlap": encoding.overlap if encoding.tile else None,
        "tf32": encoding.tf32 and parameter.is_cuda,
    }


def _floating(frames: Tensor, device: torch.device) -> Tensor:
    """Return frames in [-1, 1]: uint8 is divided by 127.5, and 1 subtracted, as published."""
    frames = frames.to(device)
    return frames.float().div_(127.5).sub_(1) if frames.dtype == torch.uint8 else frames
