"""The training job of ALSO pre-training: its network, its data and its exports, handed to the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from cosmos_lidar.families.also.config import AlsoTrainConfig
from cosmos_lidar.families.also.data import make_loaders
from cosmos_lidar.families.also.export import export_weights
from cosmos_lidar.families.also.network import PretextNetwork
from cosmos_lidar.families.also.pretrain import PretrainModel
from cosmos_lidar.families.export import export_trained
from cosmos_lidar.models.deferred import build_deferred
from cosmos_lidar.models.sparse import build_backbone, load_backbone
from cosmos_lidar.models.sparse.second import KITTI_GRID
from cosmos_lidar.parallel.materialize import WeightSource, with_weights
from cosmos_lidar.training.engine import DataShare, Job
from cosmos_lidar.weights import file_of

__all__ = ["export_weights", "make_dry_model", "make_job", "make_network"]


def make_job(run: AlsoTrainConfig, folder: Path, share: DataShare) -> Job:
    """Return network, data and exports of a run."""
    network, weights = open_network(run)
    model = PretrainModel(run, network, folder)
    model.weights = weights
    train, val = make_loaders(run, folder, share)
    origin = run.model.checkpoint or "scratch"
    return Job(
        model, train, val, run.data.batch_size, run.data.workers, origin, partial(export_trained, export_weights)
    )


def make_dry_model(run: AlsoTrainConfig) -> PretrainModel:
    """Return the model with random weights on the current default device; the data is not looked at."""
    return PretrainModel(run, make_network(replace(run, model=replace(run.model, checkpoint=""))), Path())


def make_network(run: AlsoTrainConfig) -> PretextNetwork:
    """Return the network, with the backbone's weights of ``model.checkpoint`` if that is set.

    Raises:
        DataError: the file holds another backbone, or one of other inputs.
    """
    return with_weights(*open_network(run))


def open_network(run: AlsoTrainConfig) -> tuple[PretextNetwork, Sequence[WeightSource]]:
    """Return the network on the meta device, and where its weights come from.

    Raises:
        DataError: ``model.checkpoint`` holds another backbone, or one of other inputs.
    """
    config = run.model
    channels, latents, grid = config.channels, config.latent_size, config.grid if config.on_grid else KITTI_GRID

    def build() -> PretextNetwork:
        if config.checkpoint:
            file = file_of(config.checkpoint, "small-backbone")
            backbone = load_backbone(file, config.name, channels, latents, grid)
        else:
            backbone = build_backbone(config.name, channels, latents, grid, config.width)
        return PretextNetwork(backbone.train(), config)

    return (build(), []) if config.checkpoint else build_deferred(build)
