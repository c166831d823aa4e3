"""Canvases of latents as Energon shards: what training of camera-to-lidar diffusion reads."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.errors import DataError
from cosmos_lidar.log import logger
from cosmos_lidar.progress import Meter
from cosmos_lidar.shards.files import write_tar, write_text
from cosmos_lidar.shards.manifest import index_with_energon
from cosmos_lidar.shards.plan import SPLITS, PrepareOptions, share_out
from cosmos_lidar.shards.sample import PackedRun

LATENTS = "latents.json"
SAMPLE_TYPE = "latents"  # of energon_tasks.latents


def write_canvases(
    clips: Sequence[Clip],
    encode: Callable[[Clip, int], tuple[Tensor, np.ndarray | None]],
    folder: Path,
    options: PrepareOptions,
    facts: dict[str, object],
    every: int = 1,
) -> dict[str, int]:
    """Encode the frames of clips into shards, clips dealt to the splits as a whole; returns samples per split.

    Frames that cannot be encoded are left out and named in ``latents.json``; they end the run when they are more than
    ``options.bad_budget``.

    Args:
        clips: drives with cameras.
        encode: (clip, frame number) -> canvas (C, 1 + views, H, W), and rays (1 + views, rows, columns, 6) or None.
        folder: where to; empty or not there.
        options: shares of the splits, samples per shard, seed, budget.
        facts: what the latents depend on, for ``latents.json``.
        every: take every n-th frame.

    Raises:
        DataError: the folder is not empty, the disk is full, or too many frames cannot be encoded.
        UserError: fewer clips than splits.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError("the folder is not empty", file=folder, wanted="an empty folder, or one that is not there")
    folder.mkdir(parents=True, exist_ok=True)
    total = sum(len(range(0, len(clip), every)) for clip in clips)
    left_out: list[dict[str, str]] = []
    counts: dict[str, int] = {}
    names: list[str] = []
    splits = _splits(clips, options)
    with Meter("encode", "frames", total) as meter:
        for split, members in splits.items():
            samples = _samples(members, encode, every, left_out, options.bad_budget * total, meter)
            counts[split] = _write_split(folder, split, samples, options.samples_per_shard, names)
    index_with_energon(folder, names, sample_type=SAMPLE_TYPE)
    members = {split: [clip.clip_id for clip in clips] for split, clips in splits.items()}
    document = {**facts, "samples": counts, "left_out": left_out, "clips": members}
    write_text(folder / LATENTS, json.dumps(document, indent=1) + "\n")
    return counts


def _splits(clips: Sequence[Clip], options: PrepareOptions) -> dict[str, list[Clip]]:
    order = sorted(clips, key=lambda clip: hashlib.sha256(f"{options.seed}:{clip.clip_id}".encode()).digest())
    splits, start = defaultdict(list), 0
    for split, count in zip(SPLITS, share_out(len(order), options.split), strict=False):
        if count:
            splits[split] = order[start : start + count]
        start += count
    return splits


def _samples(
    clips: Sequence[Clip],
    encode: Callable[[Clip, int], Tensor],
    every: int,
    left_out: list[dict[str, str]],
    allowed: float,
    meter: Meter,
) -> Iterator[PackedRun]:
    for clip in clips:
        for index in range(0, len(clip), every):
            try:
                canvas, rays = encode(clip, index)
            except DataError as error:
                logger.warning("frame %s of clip %s is left out: %s", clip.frame_ids[index], clip.clip_id, error)
                left_out.append({"clip": clip.clip_id, "frame": clip.frame_ids[index], "problem": str(error)})
                if len(left_out) > allowed:
                    raise
            else:
                yield _pack(clip, index, canvas, rays)
            meter.advance(1)


def _pack(clip: Clip, index: int, canvas: Tensor, rays: np.ndarray | None) -> PackedRun:
    meta = {"clip_id": clip.clip_id, "frame_id": clip.frame_ids[index]}
    parts = {"latent.npy": _half(canvas.numpy()), "meta.json": json.dumps(meta).encode()}
    if rays is not None:
        parts["rays.npy"] = _half(rays)
    return PackedRun(f"{clip.clip_id}_{index:06d}", parts, 1, 0)


def _half(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array.astype(np.float16))
    return stream.getvalue()


def _write_split(folder: Path, split: str, samples: Iterator[PackedRun], per_shard: int, names: list[str]) -> int:
    count = number = 0
    while True:
        shard = list(itertools.islice(samples, per_shard))
        if not shard:
            return count
        names.append(f"{split}-{number:06d}.tar")
        write_tar(folder / names[-1], shard)
        count, number = count + len(shard), number + 1
