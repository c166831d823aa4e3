"""The training of a diffusion transformer on latents: its network and its data, handed to the engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import nn

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.dit.config import DitTrainConfig, LoraConfig
from cosmos_lidar.families.dit.export import export_weights
from cosmos_lidar.families.dit.model import DitModel
from cosmos_lidar.families.export import export_trained
from cosmos_lidar.log import logger
from cosmos_lidar.models.deferred import build_deferred
from cosmos_lidar.models.dit import DiT, build_dit
from cosmos_lidar.models.dit.lora import add_lora
from cosmos_lidar.models.dit.weights import open_dit_weights
from cosmos_lidar.parallel.made_once import made_once
from cosmos_lidar.parallel.materialize import WeightSource, with_weights
from cosmos_lidar.shards.latents import LATENT, META, SAMPLE_TYPE, TEXT, array_bytes
from cosmos_lidar.training.config import TrainConfig
from cosmos_lidar.training.engine import DataShare, Job
from cosmos_lidar.training.model import TrainedModel

_VAL_SHARE = 4  # one synthetic clip in four is validated on


class NetworkSettings(Protocol):
    """What :func:`open_shape` needs to know of ``model``."""

    name: str
    checkpoint: str
    lora: LoraConfig


__all__ = [
    "export_weights",
    "load_job",
    "make_dry_model",
    "make_job",
    "make_network",
    "open_shape",
    "synthetic_latents",
    "write_waves",
]


def make_job(run: DitTrainConfig, folder: Path, share: DataShare) -> Job:
    """Return network and data of a run."""
    network, weights = open_network(run)
    model = DitModel(run, network, folder)
    model.weights = weights
    return load_job(run, model, folder, share)


def load_job(
    run: TrainConfig[Any, Any],
    model: TrainedModel,
    folder: Path,
    share: DataShare,
    loader: Callable[..., Any] | None = None,
    synthetic: Callable[[Path, Any], Path] | None = None,
    export: Callable[..., list[Path]] = export_weights,
) -> Job:
    """Return a model with the data of its run.

    Args:
        run: with the options of :class:`~cosmos_lidar.families.dit.config.DitDataConfig` in ``data``.
        model: with its network.
        folder: of the run.
        share: rank and seed of the data.
        loader: opens a split; None for latents.
        synthetic: makes the data where ``data.path`` is empty; None for :func:`synthetic_latents`.
        export: writes weights as files.
    """
    from energon_tasks.latents import latents_loader

    loader = loader or latents_loader
    data, trainer = run.data, run.trainer
    make: Callable[[Path, Any], Path] = synthetic or synthetic_latents
    path = data.path or make(folder / "synthetic", run)
    common: dict[str, Any] = {"batch_size": data.batch_size, "rank": share.rank, "world_size": share.world}
    common |= {"bad_sample_budget": data.bad_sample_budget, "trust_sample_loaders": data.trust_sample_loaders}
    reading: dict[str, Any] = {"num_workers": data.workers, "shuffle_buffer": data.shuffle, "seed": share.seed}
    train = loader(path, data.train_split, training=True, **reading, **common)
    val = loader(path, data.val_split, training=False, limit=trainer.val_batches or None, **common)
    start = run.model.checkpoint or "scratch"
    return Job(model, train, val, data.batch_size, data.workers, start, partial(export_trained, export))


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
    return open_shape(run.model, run.model.shape(), run.data.text_shape)


def open_shape(
    model: NetworkSettings, shape: Mapping[str, Any], text_shape: list[int]
) -> tuple[DiT, Sequence[WeightSource]]:
    """Return a network of a named shape on the meta device, with its adapters, and where its weights come from.

    Args:
        model: name, weights to start from, low-rank updates.
        shape: what differs from the named shape.
        text_shape: (tokens, width) of text embeddings; empty for none.

    Raises:
        DataError: the file holds the weights of another network.
        UserError: text of another width than the network takes.
    """
    stored = model.checkpoint
    # billions of random numbers are not drawn where they would not be used
    network, weights = build_deferred(lambda: build_dit(model.name, **shape), draw=not stored)
    width = getattr(network.config, "crossattn_proj_in_channels", 0) or network.config.crossattn_emb_channels
    if text_shape and text_shape[1] != width:
        raise UserError(f"data.text_shape={text_shape}: {model.name} takes embeddings of width {width}")
    sources: list[WeightSource] = [open_dit_weights(network, Path(stored))] if stored else [*weights]
    lora = model.lora
    if lora.rank:
        updates = partial(add_lora, network, lora.rank, lora.alpha, lora.targets, lora.modules_to_save)
        sources += build_deferred(updates)[1]
    return network, sources


def synthetic_latents(folder: Path, run: DitTrainConfig) -> Path:
    """Return a folder of shards of synthetic latents: smooth waves, different in each clip; rank 0 makes it."""
    return write_waves(folder, run.synthetic_clips, run.data.latent_shape, run.data.text_shape, run.trainer.seed)


def write_waves(folder: Path, clips: int, latent_shape: list[int], text_shape: list[int], seed: int) -> Path:
    """Return a folder of shards of latents that are plane waves, and of text embeddings; rank 0 makes it.

    Args:
        folder: for the shards.
        clips: number of them, for training and validation together.
        latent_shape: (C, T, H, W).
        text_shape: (tokens, width); empty for none.
        seed: of the waves.
    """
    from cosmos_lidar.shards.manifest import index_with_energon

    def make() -> None:
        logger.info("making %d synthetic latents in %s", clips, folder)
        folder.mkdir(parents=True, exist_ok=True)
        validated = max(clips // _VAL_SHARE, 1)
        write = partial(_write_shard, folder, latent_shape=latent_shape, text_shape=text_shape, seed=seed)
        names = [write("train", range(validated, clips)), write("val", range(validated))]
        index_with_energon(folder, names, sample_type=SAMPLE_TYPE)

    return made_once(folder, folder / ".nv-meta" / "dataset.yaml", make)


def _write_shard(
    folder: Path, split: str, clips: range, latent_shape: list[int], text_shape: list[int], seed: int
) -> str:
    import webdataset

    name = f"{split}-000000.tar"
    with webdataset.TarWriter(str(folder / name), mtime=0) as tar:
        for clip in clips:
            rng = np.random.default_rng([seed, clip])
            parts = {LATENT: array_bytes(_waves(rng, latent_shape))}
            if text_shape:
                parts[TEXT] = array_bytes(rng.standard_normal(text_shape).astype(np.float32))
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
