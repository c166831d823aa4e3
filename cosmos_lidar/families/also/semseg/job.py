"""The training job of semantic segmentation: its network, its data and its exports, handed to the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import Tensor

from cosmos_lidar.clips.label_maps import load_label_map
from cosmos_lidar.families.also.export import write_backbones
from cosmos_lidar.families.also.semseg.config import SemsegTrainConfig
from cosmos_lidar.families.also.semseg.data import make_loaders
from cosmos_lidar.families.also.semseg.model import SemsegModel
from cosmos_lidar.families.also.semseg.network import SegmentationNetwork
from cosmos_lidar.families.export import export_trained
from cosmos_lidar.models.deferred import build_deferred
from cosmos_lidar.models.sparse import build_backbone, load_backbone
from cosmos_lidar.parallel.materialize import WeightSource, with_weights
from cosmos_lidar.training.engine import DataShare, Job


def make_job(run: SemsegTrainConfig, folder: Path, share: DataShare) -> Job:
    """Return network, data and exports of a run."""
    network, weights = open_network(run)
    model = SemsegModel(annealed(run), network, folder, count_classes(run))
    model.weights = weights
    train, val = make_loaders(run, folder, share)
    origin = str(run.model.weights or "scratch")
    return Job(
        model, train, val, run.data.batch_size, run.data.workers, origin, partial(export_trained, export_weights)
    )


def annealed(run: SemsegTrainConfig) -> SemsegTrainConfig:
    """Return the configuration, where ``model.anneal`` is set with a cosine that ends at the last step."""
    if not run.model.anneal or run.optim.decay_until:
        return run
    return replace(run, optim=replace(run.optim, decay_until=run.trainer.max_steps))


def make_dry_model(run: SemsegTrainConfig) -> SemsegModel:
    """Return the model with random weights on the current default device; the data is not looked at."""
    network = make_network(replace(run, model=replace(run.model, checkpoint="")))
    return SemsegModel(run, network, Path(), count_classes(run))


def make_network(run: SemsegTrainConfig) -> SegmentationNetwork:
    """Return the network, with the backbone's weights of ``model.checkpoint`` if that is set.

    Raises:
        DataError: the file holds another backbone, or one of other inputs.
    """
    return with_weights(*open_network(run))


def open_network(run: SemsegTrainConfig) -> tuple[SegmentationNetwork, Sequence[WeightSource]]:
    """Return the network, on the meta device where it starts from random weights, and where its weights come from.

    Raises:
        DataError: ``model.checkpoint`` holds another backbone, or one of other inputs.
        UserError: there is no such label map.
    """
    config, outputs = run.model, count_classes(run)
    if config.weights is not None:
        backbone = load_backbone(config.weights, config.name, config.channels, outputs)
        return SegmentationNetwork(backbone, config.linear_probing), []

    def build() -> SegmentationNetwork:
        backbone = build_backbone(config.name, config.channels, outputs, width=config.width)
        return SegmentationNetwork(backbone, config.linear_probing)

    return build_deferred(build)


def count_classes(run: SemsegTrainConfig) -> int:
    """Return the number of classes of the label map, the ignored one among them."""
    return len(load_label_map(run.model.label_map).classes)


def export_weights(weights: dict[str, Tensor], average: dict[str, Tensor], folder: Path, step: int) -> list[Path]:
    """Write ``iter_N_semseg.safetensors`` and, where there is an EMA, ``iter_N_ema_semseg.safetensors``.

    The files have the names of the published networks, the last layer among them: ``load_backbone`` and
    ``cosmos-lidar evaluate-semseg`` read them.

    Args:
        weights: by name, whole, on the CPU.
        average: that of the same names; empty without one.
        folder: for the files.
        step: N, nine digits.

    Returns:
        The files.
    """
    return write_backbones(weights, average, folder, step, "semseg")
