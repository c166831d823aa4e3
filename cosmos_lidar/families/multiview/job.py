"""The training of multi-view video diffusion: its network and its data, handed to the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.dit.job import load_job, open_shape, write_waves
from cosmos_lidar.families.multiview.config import MultiviewTrainConfig
from cosmos_lidar.families.multiview.export import export_weights
from cosmos_lidar.families.multiview.model import MultiviewModel
from cosmos_lidar.families.multiview.online_encoder import WindowLatents
from cosmos_lidar.models.dit.predict2 import SHAPES
from cosmos_lidar.parallel.materialize import WeightSource, with_weights
from cosmos_lidar.training.engine import DataShare, Job
from cosmos_lidar.weights import file_of

__all__ = ["export_weights", "make_dry_model", "make_job", "make_network", "open_network"]


def make_job(run: MultiviewTrainConfig, folder: Path, share: DataShare) -> Job:
    """Return network and data of a run."""
    encode = WindowLatents(run.data) if run.data.vae.checkpoint else None
    network, weights = open_network(run)
    model = MultiviewModel(run, network, folder, encode)
    model.weights = weights
    return load_job(run, model, folder, share, _loader(run, encode), synthetic_latents, export_weights)


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
    lora = replace(run.model.lora, modules_to_save=run.trained_whole())
    model = replace(run.model, lora=lora, checkpoint=file_of(run.model.checkpoint, "small-multiview"))
    network, sources = open_shape(model, run.shape(), run.data.text_shape)
    rows = SHAPES[run.model.name].n_cameras_emb
    if max(run.data.view_ids) >= rows and not run.model.rays:
        problem = f"{run.model.name} has a view table of {rows} rows, from 0; model.rays=true takes any cameras"
        raise UserError(f"data.view_ids={run.data.view_ids}: {problem}")
    return network, sources


def synthetic_latents(folder: Path, run: MultiviewTrainConfig) -> Path:
    """Return a folder of shards of synthetic latents of all views: plane waves; rank 0 makes it."""
    return write_waves(folder, run.synthetic_clips, run.data.clip_shape, run.data.clip_text_shape, run.trainer.seed)


def _loader(run: MultiviewTrainConfig, encode: WindowLatents | None) -> Callable[..., Any] | None:
    """Return what opens a split of videos; None for latents, where there is no encoder."""
    if encode is None:
        return None
    from energon_tasks.multiview import ViewWindow, multiview_loader

    data = run.data
    window = ViewWindow(data.frames, data.size, tuple(data.view_ids), data.stride, data.start_step, data.fit,
                        tuple(run.model.control.kinds), tuple(run.model.sweeps.size))  # fmt: skip
    options: dict[str, Any] = {"window": window, "captions": data.captions if data.text_shape else "none"}
    rows, width = data.text_shape or (1, 1)
    return partial(multiview_loader, text_shape=(rows, width), find_latent=encode.find, **options)
