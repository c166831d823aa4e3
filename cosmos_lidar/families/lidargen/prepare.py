"""Writing of range maps with the camera images taken with them as Energon shards: one frame a sample."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.range_codec import encode_ranges
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.lidargen.views import FrameViews
from cosmos_lidar.images import jpeg_bytes
from cosmos_lidar.shards.files import write_text
from cosmos_lidar.shards.frames import FrameFormat, write_frames
from cosmos_lidar.shards.latents import half_bytes
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.views import IMAGE, RANGES, RAYS, SAMPLE_TYPE, SENSOR, VIEWS


def write_views(
    clips: Sequence[Clip], views: FrameViews, folder: Path, options: PrepareOptions, every: int = 1
) -> dict[str, int]:
    """Write frames, each with its images; returns samples per split.

    Args:
        clips: drives of one kind of lidar, with cameras.
        views: which images, and how they are scaled and cut.
        folder: where to; empty or absent, or one in which the same call was made: what changed is written again.
        options: shares of the splits, samples per shard, seed, budget for frames without images.
        every: take every n-th frame.

    Raises:
        DataError: the folder holds something else, the disk is full, or too many frames cannot be used.
        UserError: several kinds of lidar, or fewer clips than splits.
    """
    fingerprints = {clip.sensor.fingerprint() for clip in clips}
    if len(fingerprints) != 1:
        raise UserError(f"{len(fingerprints)} kinds of lidar among {len(clips)} clips: write one at a time (--sensor)")
    settings: dict[str, object] = {
        "cameras": views.cameras,
        "image_size": views.image_size,
        "tolerance_s": views.tolerance_s,
        "image_rule": views.rules(clips),
    }
    format = FrameFormat(
        lambda clip, index, _: pack_views(views, clip, index), views.state, SAMPLE_TYPE, VIEWS, settings, every=every
    )
    counts = write_frames(clips, format, folder, options)
    write_text(folder / SENSOR, clips[0].sensor.to_yaml())
    return counts


def pack_views(views: FrameViews, clip: Clip, index: int) -> dict[str, bytes]:
    """Return the parts of a frame's sample.

    Raises:
        DataError: a camera is not there, or has no image of the sweep; a range map that cannot be stored.
    """
    range_m, step = clip.range_map(index), clip.sensor.range_step_m
    try:
        parts = {RANGES: encode_ranges(np.where(range_m > 65535 * step, 0, range_m).astype(np.float32)[None], step)}
    except DataError as error:
        raise error.at(file=clip.source, clip=clip.clip_id) from error
    for name, image in zip(views.cameras, views.images(clip, index), strict=True):
        rows = (image.permute(1, 2, 0).numpy() * 127.5 + 128.0).clip(0, 255).astype(np.uint8)
        parts[f"{name}{IMAGE}"] = jpeg_bytes(rows)
    rays = views.rays(clip, index)
    if rays is not None:
        parts[RAYS] = half_bytes(rays)
    return parts
