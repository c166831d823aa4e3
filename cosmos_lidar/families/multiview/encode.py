"""Latents of clips of several cameras as shards of their own, with text and calibration: training without videos."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from cosmos_lidar.clips.rig import lens_entry
from cosmos_lidar.errors import UserError
from cosmos_lidar.families.multiview.config import MultiviewDataConfig
from cosmos_lidar.families.multiview.online_encoder import WindowLatents
from cosmos_lidar.families.multiview.rays import batch_rays
from cosmos_lidar.latents.cache import weights_hash
from cosmos_lidar.log import logger
from cosmos_lidar.progress import Meter
from cosmos_lidar.shards.files import write_tar, write_text
from cosmos_lidar.shards.latents import (
    CONTROLS,
    LATENT,
    LATENTS,
    META,
    RAYS,
    SAMPLE_TYPE,
    TEXT,
    array_bytes,
    half_bytes,
)
from cosmos_lidar.shards.manifest import index_with_energon
from cosmos_lidar.shards.sweeps import PackedRun

if TYPE_CHECKING:
    from energon_tasks.multiview import MultiviewBatch

_FILE_SAMPLES = 64  # of a tar


def encode_shards(
    data: MultiviewDataConfig,
    folder: Path,
    splits: Sequence[str],
    device: torch.device | str = "cpu",
    controls: Sequence[str] = (),
) -> dict[str, int]:
    """Write the latents of the middle window of each clip as shards, and return the samples of each split.

    Latents are those of the network, (C, V * T, H, W), one view after the other. With each go its text, the rays of its
    cameras where all are calibrated, and in ``meta.json`` lenses, mountings, views and frame rate.

    Args:
        data: options of a run on the videos: path, VAE, views, size, captions.
        folder: for the shards; empty or absent. A latent cache (``data.vae.cache``) shortens a second attempt.
        splits: of the videos.
        device: of the VAE.
        controls: kinds of control videos, whose latents are written too.

    Raises:
        DataError: videos or the VAE cannot be read.
        UserError: the folder is not empty, or views or splits that are not there.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty: give another folder")
    encode, counts, names = WindowLatents(data), {}, []
    with Meter("encode", "clips") as meter:
        for split in splits:
            samples = _samples(data, split, encode, torch.device(device), meter, tuple(controls))
            parts = list(_write(folder, split, samples))
            names += [name for name, _ in parts]
            counts[split] = sum(count for _, count in parts)
    index_with_energon(folder, names, sample_type=SAMPLE_TYPE)
    document = {"views": list(data.view_ids), "latent_shape": data.latent_shape, "samples": counts}
    document |= {"image_weights": weights_hash(encode.space.vae), "captions": data.captions}
    document |= {"controls": list(controls)} if controls else {}
    write_text(folder / LATENTS, json.dumps(document, indent=1) + "\n")
    return counts


def _write(folder: Path, split: str, samples: Iterator[PackedRun]) -> Iterator[tuple[str, int]]:
    """Write tars of some samples each; yield name and number of samples."""
    folder.mkdir(parents=True, exist_ok=True)
    waiting: list[PackedRun] = []
    number = 0
    for sample in samples:
        waiting.append(sample)
        if len(waiting) == _FILE_SAMPLES:
            yield _write_one(folder, f"{split}-{number:06d}.tar", waiting)
            number, waiting = number + 1, []
    if waiting:
        yield _write_one(folder, f"{split}-{number:06d}.tar", waiting)


def _write_one(folder: Path, name: str, samples: list[PackedRun]) -> tuple[str, int]:
    write_tar(folder / name, samples)
    return name, len(samples)


def _samples(
    data: MultiviewDataConfig, split: str, encode: WindowLatents, device: torch.device, meter: Meter,
    controls: tuple[str, ...],
) -> Iterator[PackedRun]:  # fmt: skip
    from energon_tasks.multiview import ViewWindow, multiview_loader

    window = ViewWindow(data.frames, data.size, tuple(data.view_ids), data.stride, data.start_step, data.fit,
                        controls)  # fmt: skip
    rows, width = data.text_shape or (1, 1)
    loader = multiview_loader(
        data.path, split, window=window, training=False, captions=data.captions if data.text_shape else "none",
        text_shape=(rows, width), find_latent=encode.find, batch_size=1, num_workers=0,
        bad_sample_budget=data.bad_sample_budget, trust_sample_loaders=data.trust_sample_loaders,
    )  # fmt: skip
    for number, batch in enumerate(loader):
        made = encode(batch, device)
        latents = made.latents[0]
        assert latents is not None
        kinds = (
            latents.unflatten(0, (-1, data.views)).transpose(1, 2).flatten(2, 3).cpu().numpy()
        )  # (1 + K, C, V t, h, w)
        whole = kinds[0]
        parts = {LATENT: half_bytes(whole), **_calibration(batch)}
        if controls:
            parts[CONTROLS] = half_bytes(kinds[1:])
        if data.text_shape and data.captions != "none":
            parts[TEXT] = half_bytes(batch.text[0].numpy())
        meter.advance(1)
        yield PackedRun(f"{split}_{number:06d}", parts, int(whole.shape[1]), 0)


def _calibration(batch: MultiviewBatch) -> dict[str, bytes]:
    """Return ``meta.json``, and the rays where all cameras of a clip are calibrated."""
    lenses = [None if lens is None else lens_entry(lens) for lens in batch.lenses[0]]
    mounts = None if batch.mounts is None else batch.mounts[0].tolist()
    meta: dict[str, Any] = {"clip_id": batch.clip_ids[0], "start": batch.starts[0], "fps": float(batch.fps[0])}
    meta |= {"cameras": batch.cameras[0], "view_ids": batch.view_ids[0].tolist(), "lenses": lenses, "mounts": mounts}
    parts = {META: json.dumps(meta).encode()}
    if mounts is None or None in lenses:
        logger.warning("clip %s: cameras are not calibrated: no rays", batch.clip_ids[0])
        return parts
    return parts | {RAYS: array_bytes(batch_rays(batch)[0].numpy().astype(np.float32))}
