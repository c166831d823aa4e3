"""The training of a diffusion transformer on latents: its network and its data, handed to the engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.dit.config import DitTrainConfig
from cosmos_lidar.families.dit.export import export_weights
from cosmos_lidar.families.dit.model import DitModel
from cosmos_lidar.families.export import export_trained
from cosmos_lidar.log import logger
from cosmos_lidar.models.deferred import build_deferred
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.dit.lora import add_lora
from cosmos_lidar.models.dit.weights import open_dit_weights
from cosmos_lidar.parallel.made_once import made_once
from cosmos_lidar.parallel.materialize import WeightSource, with_weights
from cosmos_lidar.shards.latents import LATENT, META, SAMPLE_TYPE, TEXT, array_bytes
from cosmos_lidar.training.engine import DataShare, Job

_VAL_SHARE = 4  # one synthetic clip in four is validated on


__all__ = [
    "export_weights",
    "load_job",
    "make_dry_model",
    "make_job",
    "make_network",
    "synthetic_latents",
]


def make_job(run: DitTrainConfig, folder: Path, share: DataShare) -> Job:
    """Return network and data of a run."""
    network, weights = open_network(run)
    model = DitModel(run, network, folder)
    model.weights = weights
    return load_job(run, model, folder, share)


def load_job(
    run: DitTrainConfig, model: DitModel, folder: Path, share: DataShare, loader: Callable[..., Any] | None = None
) -> Job:
    """Return a model with the data of its run: latents, or what ``loader`` reads."""
    from energon_tasks.latents import latents_loader

    loader = loader or latents_loader
    data, trainer = run.data, run.trainer
    path = data.path or synthetic_latents(folder / "synthetic", run)
    common: dict[str, Any] = {"batch_size": data.batch_size, "rank": share.rank, "world_size": share.world}
    common |= {"bad_sample_budget": data.bad_sample_budget, "trust_sample_loaders": data.trust_sample_loaders}
    reading: dict[str, Any] = {"num_workers": data.workers, "shuffle_buffer": data.shuffle, "seed": share.seed}
    train = loader(path, data.train_split, training=True, **reading, **common)
    val = loader(path, data.val_split, training=False, limit=trainer.val_batches or None, **common)
    export = partial(export_trained, export_weights)
    return Job(model, train, val, data.batch_size, data.workers, run.model.checkpoint or "scratch", export)


def make_dry_model(run: DitTrainConfig) -> DitModel:
    """Return the model with random weights on the current default device; the data is not looked at."""
    network = make_network(replace(run, model=replace(run.model, checkpoint="")))
    return DitModel(run, network, Path())


def make_network(run: DitTrainConfig) -> nn.Module:
    """Return the network, with the weights of ``model.checkpoint`` if that is set, on the current default device.

    Raises:
        DataError: the file holds the weights of another network.
        UserError: text of another width than the network takes.
    """
    return with_weights(*open_network(run))


def open_network(run: DitTrainConfig) -> tuple[nn.Module, Sequence[WeightSource]]:
    """Return the network on the meta device, and where its weights come from.

    Raises:
        DataError: the file holds the weights of another network.
        UserError: text of another width than the network takes.
    """
    stored = run.model.checkpoint
    # billions of random numbers are not drawn where they would not be used
    network, weights = build_deferred(lambda: build_dit(run.model.name, **run.model.shape()), draw=not stored)
    width = network.config.crossattn_emb_channels
    if run.data.text_shape and run.data.text_shape[1] != width:
        raise UserError(f"data.text_shape={run.data.text_shape}: {run.model.name} takes embeddings of width {width}")
    sources: list[WeightSource] = [open_dit_weights(network, Path(stored))] if stored else [*weights]
    lora = run.model.lora
    if lora.rank:
        updates = partial(add_lora, network, lora.rank, lora.alpha, lora.targets, lora.modules_to_save)
        sources += build_deferred(updates)[1]
    return network, sources


def synthetic_latents(folder: Path, run: DitTrainConfig) -> Path:
    """Return a folder of shards of synthetic latents: smooth waves, different in each clip; rank 0 makes it."""
    from cosmos_lidar.shards.manifest import index_with_energon

    def make() -> None:
        logger.info("making %d synthetic latents in %s", run.synthetic_clips, folder)
        folder.mkdir(parents=True, exist_ok=True)
        validated = max(run.synthetic_clips // _VAL_SHARE, 1)
        names = [_write_shard(folder, "train", range(validated, run.synthetic_clips), run)]
        names.append(_write_shard(folder, "val", range(validated), run))
        index_with_energon(folder, names, sample_type=SAMPLE_TYPE)

    return made_once(folder, folder / ".nv-meta" / "dataset.yaml", make)


def _write_shard(folder: Path, split: str, clips: range, run: DitTrainConfig) -> str:
    import webdataset

    name = f"{split}-000000.tar"
    with webdataset.TarWriter(str(folder / name), mtime=0) as tar:
        for clip in clips:
            rng = np.random.default_rng([run.trainer.seed, clip])
            parts = {LATENT: array_bytes(_waves(rng, run.data.latent_shape))}
            if run.data.text_shape:
                parts[TEXT] = array_bytes(rng.standard_normal(run.data.text_shape).astype(np.float32))
            meta = json.dumps({"clip_id": f"synthetic_{clip:06d}"}).encode()
            tar.write({"__key__": f"{clip:06d}", META: meta, **parts})
    return name


def _waves(rng: np.random.Generator, shape: list[int]) -> np.ndarray:
    """Return (C, T, H, W) float32 of standard deviation 0.5: one plane wave per channel, moving with time."""
    channels, *sizes = shape
    t, h, w = np.meshgrid(*(np.arange(size, dtype=np.float32) for size in sizes), indexing="ij")
    frequency = rng.uniform(-0.6, 0.6, (3, channels, 1, 1, 1)).astype(np.float32)
    phase = rng.uniform(0, 2 * np.pi, (channels, 1, 1, 1)).astype(np.float32)
    return (0.5**0.5 * np.sin(frequency[0] * t + frequency[1] * h + frequency[2] * w + phase)).astype(np.float32)
