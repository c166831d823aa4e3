"""The training of a lidar tokenizer: its network, its data and its exports, handed to the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import nn

from cosmos_lidar.families.export import export_trained
from cosmos_lidar.families.lidar_tokenizer.config import LidarTokenizerTrainConfig
from cosmos_lidar.families.lidar_tokenizer.data import image_size, make_data
from cosmos_lidar.families.lidar_tokenizer.model import LidarTokenizerModel
from cosmos_lidar.models.deferred import build_deferred
from cosmos_lidar.models.tokenizer.export import export_weights
from cosmos_lidar.parallel.materialize import WeightSource, with_weights
from cosmos_lidar.sensors import RangeMapFormat
from cosmos_lidar.training.engine import DataShare, Job
from cosmos_lidar.weights import file_of

_SHAPE = ("channels", "channels_mult", "num_res_blocks", "z_channels", "resolution", "patch_size", "mid_attention")

__all__ = ["export_weights", "make_dry_model", "make_job", "make_network"]


def make_job(run: LidarTokenizerTrainConfig, folder: Path, share: DataShare) -> Job:
    """Return network, data and exports of a run."""
    data = make_data(run, folder, share)
    network, weights = open_network(run)
    model = LidarTokenizerModel(run, network, folder, _make_perceptual(run), data.format, data.size)
    model.weights = weights
    batch, workers, source = run.data.batch_size, run.data.workers, run.model.checkpoint or "scratch"
    return Job(model, data.train, data.val, batch, workers, source, partial(export_trained, export_weights))


def make_dry_model(run: LidarTokenizerTrainConfig) -> LidarTokenizerModel:
    """Return the model with random weights on the current default device; the data is not looked at.

    Images are as high as those of the data's sensor, or 512, as of every built-in sensor, where that is not known.
    """
    from cosmos_lidar.losses.perceptual import PerceptualLoss, Vgg16Features

    height, width = image_size(run)
    size = (height, run.data.crop_columns or width)
    perceptual = PerceptualLoss(Vgg16Features()) if run.model.loss.perceptual > 0 else None
    network = make_network(replace(run, model=replace(run.model, checkpoint="")))
    return LidarTokenizerModel(run, network, Path(), perceptual, RangeMapFormat(), size)


def make_network(run: LidarTokenizerTrainConfig) -> nn.Module:
    """Return the network, with the weights of ``model.checkpoint`` if that is set, on the current default device."""
    return with_weights(*open_network(run))


def open_network(run: LidarTokenizerTrainConfig) -> tuple[nn.Module, Sequence[WeightSource]]:
    """Return the network on the meta device, and where its weights come from.

    Raises:
        DataError: no tokenizer in ``model.checkpoint``.
    """
    from cosmos_lidar.models.tokenizer import build_tokenizer
    from cosmos_lidar.models.tokenizer.checkpoint import open_tokenizer

    config = run.model
    weights: Sequence[WeightSource]
    if config.checkpoint:
        coding = None if config.coding == "auto" else (config.coding, config.scale)
        network, weights = open_tokenizer(file_of(config.checkpoint, "small-lidar-tokenizer"), coding)
    else:
        overrides = {name: getattr(config, name) for name in _SHAPE if getattr(config, name) is not None}
        if config.coding == "validity":
            overrides |= {"coding": config.coding, "scale": config.scale}
        network, weights = build_deferred(lambda: build_tokenizer(config.name, **overrides))
    if not config.train_encoder:
        for part in (network.encoder, network.quant_conv):
            part.requires_grad_(False)
    return network, weights


def _make_perceptual(run: LidarTokenizerTrainConfig) -> nn.Module | None:
    from cosmos_lidar.losses.perceptual import load_perceptual

    loss = run.model.loss
    return load_perceptual(loss.perceptual_weights) if loss.perceptual > 0 else None
