"""The training of camera-to-lidar diffusion: its network and its data, handed to the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.dit import job as dit
from cosmos_lidar.families.dit.export import export_weights as export_network
from cosmos_lidar.families.lidargen.config import LidarGenTrainConfig
from cosmos_lidar.families.lidargen.model import LidarGenModel
from cosmos_lidar.families.lidargen.online_encoder import FrameLatents
from cosmos_lidar.models.deferred import build_deferred
from cosmos_lidar.models.dit import DiT
from cosmos_lidar.models.dit.alignment import add_alignment, without_alignment
from cosmos_lidar.models.dit.network import GeneralDiT
from cosmos_lidar.parallel.materialize import WeightSource, with_weights
from cosmos_lidar.training.engine import DataShare, Job
from cosmos_lidar.weights import file_of


def make_job(run: LidarGenTrainConfig, folder: Path, share: DataShare) -> Job:
    """Return network and data of a run."""
    encode = FrameLatents(run.data.tokenizers, run.model.canvas.layout()) if run.data.tokenizers.lidar else None
    checkpoint = file_of(run.model.checkpoint, "small-lidargen")
    network, weights = open_network(replace(run, model=replace(run.model, checkpoint=checkpoint)))
    model = LidarGenModel(run, network, folder, encode)
    model.weights = weights
    loader = partial(_open_latents, run) if encode is None else partial(_open_frames, encode.lidar_step)
    return dit.load_job(run, model, folder, share, loader, export=export_weights)


def _open_latents(run: LidarGenTrainConfig, path: str | Path, split: str, **options: Any) -> Any:
    from energon_tasks.latents import latents_loader

    return latents_loader(path, split, alignment=run.model.alignment.weight > 0, **options)


def _open_frames(step: int, path: str | Path, split: str, **options: Any) -> Any:
    from energon_tasks.views import views_loader

    return views_loader(path, split, step=step, **options)


def make_dry_model(run: LidarGenTrainConfig) -> LidarGenModel:
    """Return the model with random weights on the current default device; the data is not looked at."""
    network = make_network(replace(run, model=replace(run.model, checkpoint="")))
    return LidarGenModel(run, network, Path())


def make_network(run: LidarGenTrainConfig) -> DiT:
    """Return the network, with the weights of ``model.checkpoint`` if that is set, on the current default device.

    Raises:
        DataError: the file holds the weights of another network.
        UserError: alignment after a block that the network does not have.
    """
    return with_weights(*open_network(run))


def open_network(run: LidarGenTrainConfig) -> tuple[DiT, Sequence[WeightSource]]:
    """Return the network on the meta device, with its alignment head where it has one, and where its weights come from.

    Raises:
        DataError: the file holds the weights of another network.
        UserError: alignment after a block that the network does not have.
    """
    network, sources = dit.open_shape(run.model, run.model.shape(), run.data.text_shape)
    alignment, canvas = run.model.alignment, run.model.canvas
    if not alignment.weight:
        return network, sources
    if alignment.channels < 1:
        raise UserError("model.alignment.channels=0: data.path has no features; cosmos-lidar encode-views --alignment")
    place = canvas.layout().lidar_tokens(canvas.dense)
    options = (alignment.block, alignment.channels, alignment.hidden, *place)
    head = build_deferred(partial(add_alignment, cast(GeneralDiT, network), *options))[1]
    return network, [*sources, *head]


def export_weights(weights: dict[str, Tensor], average: dict[str, Tensor], folder: Path, step: int) -> list[Path]:
    """Write what :func:`cosmos_lidar.families.dit.export.export_weights` does, without the alignment head.

    Args:
        weights: by name, whole, on the CPU.
        average: that of the same names; empty without one.
        folder: for the files.
        step: N, nine digits.

    Returns:
        The files.
    """
    return export_network(without_alignment(weights), without_alignment(average), folder, step)
