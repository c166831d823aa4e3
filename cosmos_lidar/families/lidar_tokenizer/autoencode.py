"""Range maps through a tokenizer and back: merge columns, make an image, pad, encode, decode, restore meters.

The defaults follow the published lidar tokenizer command except where its choice costs quality without need:
images are padded by repeating the edge to a multiple of 8 (published: mid-range zeros to a multiple of 16) and
computed in float32 (published: bfloat16, which costs precision and stops networks that were traced in float32).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, cast

import numpy as np
import torch
import torch.nn.functional as F

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.lidar_tokenizer.merge import Merged, merge_pixels
from cosmos_lidar.metrics.lidar import RangeProtocol
from cosmos_lidar.models.tokenizer.network import Tokenizer, has_validity
from cosmos_lidar.sensors import Sensor, denormalise, prepare_range_map, ray_directions, restore_range_map
from cosmos_lidar.sensors.range_image import PAIR_METHODS
from cosmos_lidar.sensors.sensor import RangeMapFormat

_CHOICES = {
    "merge_method": PAIR_METHODS,
    "rows_taken": ("published", "mean"),
    "padding": ("edge", "published"),
    "mask": ("input", "decoded"),
    "ray_at": ("centre", "edge"),
}
_PAD_MULTIPLE = {"edge": 8, "published": 16}


@dataclass(frozen=True)
class AutoencodeOptions:
    """How range maps go through a tokenizer.

    Attributes:
        format: range limits, merged columns and repeated rows.
        merge_rows: that many neighboring rows become one.
        merge_method: which return of merged pixels is kept: ``scatter_min`` the nearest, ``scatter_max`` the farthest,
            ``every_n`` that of the first pixel.
        repeat_columns: each merged column is repeated that often in the image.
        rows_taken: of the repeated rows of a decoded image, take the one at ``repeat_rows // 2`` (``published``)
            or the ``mean`` of all.
        padding: ``edge`` repeats the border to a multiple of 8; ``published`` adds zeros (mid range) to one of 16.
        mask: a reconstructed pixel has a return where the ``input`` has a valid one (published), or where the
            ``decoded`` range is farther than the buffer from both limits; of a tokenizer of the coding ``validity``,
            where it decodes a return.
        ray_at: points lie in the ``centre`` of a column, or at its leading ``edge`` as in the published code.
        batch_size: frames per step.
        max_error_m: pixels whose expected error, which a tokenizer with a scale decodes, is above this many meters have
            no return: flying points at edges; None keeps all.
    """

    format: RangeMapFormat = RangeMapFormat()
    merge_rows: int = 1
    merge_method: str = "scatter_min"
    repeat_columns: int = 1
    rows_taken: str = "published"
    padding: str = "edge"
    mask: str = "input"
    ray_at: str = "centre"
    batch_size: int = 1
    max_error_m: float | None = None

    def __post_init__(self) -> None:
        if self.max_error_m is not None and not self.max_error_m > 0:
            raise UserError(f"max_error_m is {self.max_error_m}: it must be above 0 meters")
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise UserError(f"{name} is {getattr(self, name)!r}: choose {' or '.join(allowed)}")
        counts = {name: getattr(self, name) for name in ("merge_rows", "repeat_columns", "batch_size")}
        counts |= {name: getattr(self.format, name) for name in ("pair_columns", "repeat_rows")}
        for name, value in counts.items():
            if value < 1:
                raise UserError(f"{name} is {value}: it must be at least 1")
        if not 0.0 <= self.format.min_range_m < self.format.max_range_m:
            limits = f"{self.format.min_range_m} to {self.format.max_range_m} m"
            raise UserError(f"range limits {limits}: the first must be smaller, and not negative")

    def range_protocol(self) -> RangeProtocol:
        """Return the metric constants that belong to these range limits."""
        near, far = float(self.format.min_range_m), float(self.format.max_range_m)
        inner = tuple(edge for edge in RangeProtocol().band_edges_m if near < edge < far)
        return RangeProtocol(min_range_m=near, max_range_m=far, band_edges_m=(near, *inner, far))


@dataclass(frozen=True)
class DecodedFrame:
    """One frame before and after the tokenizer; all arrays are (rows, merged columns).

    Attributes:
        frame_id: the dataset's name of the frame.
        reference_m: float32 meters as measured, 0 = no return, not clipped.
        valid_m: float32 meters as measured, 0 where there is no return more than 0.1 m inside the range limits: as
            published range-map videos show it.
        decoded_m: float32 meters as decoded in every pixel, between the range limits.
        reconstruction_m: float32 meters, 0 where the reconstruction has no return.
        source: int64, flat index of the pixel of the full range map whose ray each merged pixel keeps.
        seconds: time that encoding and decoding took (a batch's time shared out evenly).
        decoded_return: bool, pixels that a tokenizer of the coding ``validity`` decodes as returns; None of others.
        expected_error_m: float32 meters, of a tokenizer with a scale; None of others.
    """

    frame_id: str
    reference_m: np.ndarray
    valid_m: np.ndarray
    decoded_m: np.ndarray
    reconstruction_m: np.ndarray
    source: np.ndarray
    seconds: float
    decoded_return: np.ndarray | None = None
    expected_error_m: np.ndarray | None = None


class DecodedMaps(NamedTuple):
    """Decoded range maps, each (B, rows, columns).

    Attributes:
        range_m: float32 meters between the range limits, in every pixel.
        returns: bool, pixels decoded as returns; None of the published coding.
        error_m: float32 meters, the expected absolute error; None where it is not decoded.
    """

    range_m: torch.Tensor
    returns: torch.Tensor | None = None
    error_m: torch.Tensor | None = None


def autoencode_clip(
    tokenizer: Autoencoder,
    clip: Clip,
    options: AutoencodeOptions,
    max_frames: int = -1,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Iterator[DecodedFrame]:
    """Yield the frames of a clip in order; only one batch is in memory at a time.

    Args:
        tokenizer: module with ``encode(image) -> latents`` and ``decode(latents) -> image``, already on ``device``.
        clip: the drive.
        options: how maps go through the tokenizer.
        max_frames: only the first so many; -1 for all.
        device: where the tokenizer is.
        dtype: in which it computes.

    Raises:
        DataError: the clip has no frame, or a range map is not of the sensor's shape or not finite.
        UserError: the tokenizer cannot take the image, or the map cannot be merged as the options say.
    """
    count = count_frames(clip, max_frames)
    for first in range(0, count, options.batch_size):
        numbers = range(first, min(first + options.batch_size, count))
        yield from autoencode_frames(tokenizer, clip, numbers, options, device, dtype)


def autoencode_frames(
    tokenizer: Autoencoder,
    clip: Clip,
    numbers: Sequence[int],
    options: AutoencodeOptions,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> list[DecodedFrame]:
    """Return the frames of these numbers, encoded and decoded as one batch; otherwise as :func:`autoencode_clip`."""
    merged = [read_merged(clip, number, options) for number in numbers]
    started = time.perf_counter()
    ranges = torch.from_numpy(np.stack([frame.range_m for frame in merged]))
    maps = decode_maps(tokenizer, ranges.to(device), options, dtype)
    decoded, returns, error_m = (None if part is None else part.cpu().numpy() for part in maps)
    assert decoded is not None
    seconds = (time.perf_counter() - started) / len(merged)
    none, found = np.float32(0.0), []
    for at, (number, frame) in enumerate(zip(numbers, merged, strict=True)):
        own = None if returns is None else returns[at]
        expected = None if error_m is None else error_m[at]
        valid_m = np.where(_is_valid(frame.range_m, options), frame.range_m, none)
        kept = _has_return(frame.range_m, decoded[at], options) if own is None or options.mask == "input" else own
        if options.max_error_m is not None and expected is not None:
            kept = kept & (expected <= options.max_error_m)
        restored = np.where(kept, decoded[at], none)
        values = (frame.range_m, valid_m, decoded[at], restored, frame.source, seconds, own, expected)
        found.append(DecodedFrame(clip.frame_ids[number], *values))
    return found


def count_frames(clip: Clip, max_frames: int) -> int:
    """Return how many frames of the clip are used; ``max_frames`` -1 means all.

    Raises:
        DataError: the clip has no frame.
        UserError: ``max_frames`` is 0.
    """
    if not max_frames:
        raise UserError("max_frames is 0: choose a number of frames, or -1 for all")
    if not len(clip):
        raise DataError("no frames in it", file=clip.source, clip=clip.clip_id, wanted="one or more lidar frames")
    return len(clip) if max_frames < 0 else min(max_frames, len(clip))


def read_merged(clip: Clip, number: int, options: AutoencodeOptions) -> Merged:
    """Read the range map of frame ``number``, check it, and merge its pixels.

    Raises:
        DataError: it is not of the sensor's shape, or not finite.
    """
    range_m, sensor = np.asarray(clip.range_map(number), np.float32), clip.sensor
    problem, wanted = None, None
    if range_m.shape != sensor.shape:
        problem = f"a range map of {' x '.join(map(str, range_m.shape))} pixels"
        wanted = f"{sensor.rows} x {sensor.columns} of sensor {sensor.name}; choose the sensor with --sensor"
    elif not np.isfinite(range_m).all():
        problem, wanted = "ranges that are not finite", "meters, 0 where nothing came back"
    if problem:
        key = f"range map of frame {clip.frame_ids[number]}"
        raise DataError(problem, file=clip.source, clip=clip.clip_id, key=key, wanted=wanted)
    return merge_pixels(range_m, options.merge_rows, options.format.pair_columns, options.merge_method)


def _has_return(reference_m: np.ndarray, decoded_m: np.ndarray, options: AutoencodeOptions) -> np.ndarray:
    protocol = options.range_protocol()
    if options.mask == "input":
        return _is_valid(reference_m, options)
    near_m, far_m = protocol.min_range_m + protocol.buffer_m, protocol.max_range_m - protocol.buffer_m
    return (decoded_m > near_m) & (decoded_m < far_m)


def _is_valid(reference_m: np.ndarray, options: AutoencodeOptions) -> np.ndarray:
    protocol = options.range_protocol()
    near_m, far_m = protocol.min_range_m + protocol.margin_m, protocol.max_range_m - protocol.margin_m
    return (reference_m > near_m) & (reference_m < far_m)


class Autoencoder(Protocol):
    """A tokenizer, or a baseline in its place."""

    def encode(self, x: torch.Tensor, /) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Return latents of images (B, 3, H, W), or (indices, codes)."""

    def decode(self, z: torch.Tensor, /) -> torch.Tensor:
        """Return images (B, 3, H, W) of latents or codes."""


@torch.inference_mode()
def reconstruct(
    tokenizer: Autoencoder, range_m: torch.Tensor, options: AutoencodeOptions, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Return (B, rows, columns) float32 decoded meters of merged range maps (B, rows, columns).

    Every pixel is given, also those without a return: the caller decides which to keep.

    Raises:
        UserError: the tokenizer cannot take the image, or gives back one of another size.
    """
    return decode_maps(tokenizer, range_m, options, dtype).range_m


@torch.inference_mode()
def decode_maps(
    tokenizer: Autoencoder, range_m: torch.Tensor, options: AutoencodeOptions, dtype: torch.dtype = torch.float32
) -> DecodedMaps:
    """Return what a tokenizer decodes of merged range maps (B, rows, columns): of the coding ``validity`` returns, too.

    Raises:
        UserError: the tokenizer cannot take the image, gives back one of another size, or has no expected error for
            ``max_error_m``.
    """
    validity = decodes_validity(tokenizer)
    scale = validity and getattr(cast(Tokenizer, tokenizer).config, "scale", False)
    if options.max_error_m is not None and not scale:
        raise UserError(f"max_error_m is {options.max_error_m}: this tokenizer decodes no expected error (model.scale)")
    padded, (top, left) = pad_image(to_image(range_m, options), options.padding)
    try:
        latents = tokenizer.encode(padded.to(dtype))
        latents = latents[1] if isinstance(latents, tuple) else latents  # discrete families: (indices, codes)
        if validity:
            decoded = torch.cat(cast(Tokenizer, tokenizer).decode_channels(latents), dim=1).float()
        else:
            decoded = tokenizer.decode(latents).float()
    except RuntimeError as error:
        height, width = padded.shape[-2:]
        reason = str(error).strip().splitlines()[-1]
        raise UserError(
            f"the tokenizer failed on images of {height} x {width} in {str(dtype).removeprefix('torch.')}: {reason} "
            "(networks traced in float32 need --tokenizer_dtype float32)"
        ) from error
    if decoded.shape != padded.shape:
        raise UserError(f"the tokenizer returned {tuple(decoded.shape)} for an image of {tuple(padded.shape)}")
    height, width = range_m.shape[-2] * options.format.repeat_rows, range_m.shape[-1] * options.repeat_columns
    decoded = decoded[..., top : top + height, left : left + width]
    if not validity:
        return DecodedMaps(from_image(decoded, options))
    image, logit, log_scale = (_take_rows(part, options) for part in decoded.split(1, dim=1))
    half_m = (options.format.max_range_m - options.format.min_range_m) / 2
    range_m = denormalise(image.clamp(-1.0, 1.0), options.format)
    return DecodedMaps(range_m, logit > 0, log_scale.exp() * half_m if scale else None)


def decodes_validity(tokenizer: object) -> bool:
    """Return whether a tokenizer, or a baseline in its place, has the coding ``validity``."""
    config = getattr(tokenizer, "config", None)
    return config is not None and has_validity(config)


def _take_rows(image: torch.Tensor, options: AutoencodeOptions) -> torch.Tensor:
    """Return (B, rows, columns) of an image (B, 1, H, W) with repeated rows and columns."""
    image = image[:, 0, :, options.repeat_columns // 2 :: options.repeat_columns]
    groups = image.unflatten(1, (-1, options.format.repeat_rows))
    return groups.mean(2) if options.rows_taken == "mean" else groups[:, :, options.format.repeat_rows // 2]


def to_image(range_m: torch.Tensor, options: AutoencodeOptions) -> torch.Tensor:
    """Return (B, 3, rows * repeat_rows, columns * repeat_columns) in [-1, 1] of merged maps (B, rows, columns)."""
    image = prepare_range_map(range_m, replace(options.format, pair_columns=1))
    return image.repeat_interleave(options.repeat_columns, dim=-1)


def from_image(image: torch.Tensor, options: AutoencodeOptions) -> torch.Tensor:
    """Return (B, rows, columns) meters between the range limits of decoded images (B, 3, H, W)."""
    image = image[..., options.repeat_columns // 2 :: options.repeat_columns]
    every_pixel = torch.ones((), dtype=torch.bool, device=image.device)
    return restore_range_map(image, options.format, valid=every_pixel, row=options.rows_taken)


def pad_image(image: torch.Tensor, padding: str) -> tuple[torch.Tensor, tuple[int, int]]:
    """Pad (B, 3, H, W) evenly on both sides to a multiple of 8 (``edge``) or 16 (``published``).

    Returns:
        The padded image, and how many rows and columns were added before the first.
    """
    multiple = _PAD_MULTIPLE[padding]
    height, width = (-size % multiple for size in image.shape[-2:])
    top, left = height // 2, width // 2
    sides = (left, width - left, top, height - top)
    padded = F.pad(image, sides, mode="replicate") if padding == "edge" else F.pad(image, sides)
    return padded, (top, left)


def frame_points(range_m: np.ndarray, source: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Return (N, 3) float32 meters of the pixels with a return, row by row.

    Args:
        range_m: (rows, columns) meters, 0 = no return.
        source: (rows, columns) flat index into the full map, so that each point keeps the azimuth that was measured.
        directions: (rows, columns of the full map, 3), see :func:`full_directions`.
    """
    hit = range_m > 0
    return (range_m[hit, None] * directions.reshape(-1, 3)[source[hit]]).astype(np.float32)


def full_directions(sensor: Sensor, options: AutoencodeOptions) -> np.ndarray:
    """Return (rows, columns, 3) unit vectors of the sensor's full range map."""
    return ray_directions(sensor, ray_at=options.ray_at)
