"""The training of multi-view video diffusion: its network and its data, handed to the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.dit.job import open_shape, write_waves
from cosmos_lidar.families.export import export_trained
from cosmos_lidar.families.multiview.config import MultiviewTrainConfig
from cosmos_lidar.families.multiview.export import export_weights
from cosmos_lidar.families.multiview.model import MultiviewModel
from cosmos_lidar.families.multiview.online_encoder import WindowLatents
from cosmos_lidar.models.dit import Predict2Config
from cosmos_lidar.models.dit.predict2 import SHAPES
from cosmos_lidar.parallel.materialize import WeightSource, with_weights
from cosmos_lidar.training.engine import DataShare, Job

__all__ = ["export_weights", "make_dry_model", "make_job", "make_network", "open_network"]


def make_job(run: MultiviewTrainConfig, folder: Path, share: DataShare) -> Job:
    """Return network and data of a run."""
    encode = WindowLatents(run.data) if run.data.vae.checkpoint else None
    network, weights = open_network(run)
    model = MultiviewModel(run, network, folder, encode)
    model.weights = weights
    data, trainer = run.data, run.trainer
    path = data.path or synthetic_latents(folder / "synthetic", run)
    common: dict[str, Any] = {"batch_size": data.batch_size, "rank": share.rank, "world_size": share.world}
    common |= {"bad_sample_budget": data.bad_sample_budget, "trust_sample_loaders": data.trust_sample_loaders}
    reading: dict[str, Any] = {"num_workers": data.workers, "shuffle_buffer": data.shuffle, "seed": share.seed}
    loader = _loader(run, encode)
    train = loader(path, data.train_split, training=True, **reading, **common)
    val = loader(path, data.val_split, training=False, limit=trainer.val_batches or None, **common)
    export = partial(export_trained, export_weights)
    return Job(model, train, val, data.batch_size, data.workers, run.model.checkpoint or "scratch", export)


def make_dry_model(run: MultiviewTrainConfig) -> MultiviewModel:
    """Return the model with random weights on the current default device; the data is not looked at."""
    network = make_network(replace(run, model=replace(run.model, checkpoint="")))
    return MultiviewModel(run, network, Path())


def make_network(run: MultiviewTrainConfig) -> nn.Module:
    """Return the network, with the weights of ``model.checkpoint`` if that is set, on the current default device.

    Raises:
        DataError: the file holds the weights of another network.
        UserError: text of another width than the network takes.
    """
    return with_weights(*open_network(run))


def open_network(run: MultiviewTrainConfig) -> tuple[nn.Module, Sequence[WeightSource]]:
    """Return the network on the meta device, and where its weights come from.

    Raises:
        DataError: the file holds the weights of another network.
        UserError: a network of another kind, text of another width than it takes, or a camera that it has no row for.
    """
    if run.model.name not in SHAPES:
        raise UserError(f"model.name={run.model.name}; valid: {', '.join(SHAPES)}")
    model = replace(run.model, lora=replace(run.model.lora, modules_to_save=run.trained_whole()))
    network, sources = open_shape(model, run.shape(), run.data.text_shape)
    config = network.config
    if not isinstance(config, Predict2Config):
        raise UserError(f"model.name={run.model.name}: expected a network of several views, predict2_2b_multiview")
    rows = config.n_cameras_emb
    if max(run.data.view_ids) >= rows and not run.model.rays:
        problem = f"{run.model.name} has a view table of {rows} rows, from 0; model.rays=true takes any cameras"
        raise UserError(f"data.view_ids={run.data.view_ids}: {problem}")
    return network, sources


def synthetic_latents(folder: Path, run: MultiviewTrainConfig) -> Path:
    """Return a folder of shards of synthetic latents of all views: plane waves; rank 0 makes it."""
    return write_waves(folder, run.synthetic_clips, run.data.clip_shape, run.data.clip_text_shape, run.trainer.seed)


def _loader(run: MultiviewTrainConfig, encode: WindowLatents | None) -> Callable[..., Any]:
    """Return what opens a split: of videos where there is an encoder, else of latents."""
    if encode is None:
        from energon_tasks.latents import latents_loader

        return latents_loader
    from energon_tasks.multiview import ViewWindow, multiview_loader

    data = run.data
    window = ViewWindow(data.frames, data.size, tuple(data.view_ids), data.stride, data.start_step, data.fit,
                        tuple(run.model.control.kinds))  # fmt: skip
    options: dict[str, Any] = {"window": window, "captions": data.captions if data.text_shape else "none"}
    rows, width = data.text_shape or (1, 1)
    return partial(multiview_loader, text_shape=(rows, width), find_latent=encode.find, **options)
