"""The training of an image or video tokenizer: its network, its data and its exports, handed to the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.export import export_trained
from cosmos_lidar.families.video_tokenizer.config import VideoTokenizerTrainConfig, check_sizes
from cosmos_lidar.families.video_tokenizer.model import VideoTokenizerModel
from cosmos_lidar.log import logger
from cosmos_lidar.losses.flow import load_flow
from cosmos_lidar.losses.perceptual import PerceptualLoss, Vgg16Features, load_perceptual
from cosmos_lidar.losses.video import VideoLoss
from cosmos_lidar.metrics.lpips import Lpips, load_lpips
from cosmos_lidar.models.deferred import build_deferred
from cosmos_lidar.models.pretrained import VGG16
from cosmos_lidar.models.tokenizer import Tokenizer, build_tokenizer
from cosmos_lidar.models.tokenizer.config import tokenizer_config
from cosmos_lidar.models.tokenizer.export import export_weights
from cosmos_lidar.models.tokenizer.pretrained import open_pretrained
from cosmos_lidar.parallel.made_once import made_once
from cosmos_lidar.parallel.materialize import WeightSource, with_weights
from cosmos_lidar.parallel.spatial import check_width
from cosmos_lidar.training.engine import DataShare, Job
from cosmos_lidar.weights import file_of

__all__ = ["export_weights", "make_dry_model", "make_job", "make_network"]


def make_job(run: VideoTokenizerTrainConfig, folder: Path, share: DataShare) -> Job:
    """Return network, data and exports of a run."""
    from energon_tasks.videos import Window, video_loader

    data = run.data
    network, weights = open_network(run)
    check_width(data.size, run.parallel.context, network.config.spatial_compression)
    path = data.path or _synthetic(run, folder / "synthetic")
    window = Window(data.frames, data.size, data.resize, data.stride, data.fps)
    common: dict[str, Any] = {"window": window, "rank": share.rank, "world_size": share.world,
              "bad_sample_budget": data.bad_sample_budget,
              "trust_sample_loaders": data.trust_sample_loaders}  # fmt: skip
    train = video_loader(
        path, data.train_split, training=True, batch_size=data.batch_size, num_workers=data.workers,
        shuffle_buffer=data.shuffle, seed=share.seed, **common,
    )  # fmt: skip
    val = video_loader(
        path, data.val_split, training=False, batch_size=data.val_batch_size, limit=run.trainer.val_batches or None,
        **common,
    )  # fmt: skip
    model = VideoTokenizerModel(run, network, folder, make_loss(run), _make_lpips(run))
    model.weights = weights
    export = partial(export_trained, export_weights)
    return Job(model, train, val, data.batch_size, data.workers, run.model.jit_ckpt_pth or "scratch", export)


def make_dry_model(run: VideoTokenizerTrainConfig) -> VideoTokenizerModel:
    """Return the model with random weights on the current default device; the data is not looked at."""
    weights = run.model.loss.weights()
    perceptual = PerceptualLoss(Vgg16Features()) if run.model.loss.needs_vgg else None
    network = make_network(replace(run, model=replace(run.model, jit_ckpt_pth="")))
    without_flow = {name: weight for name, weight in weights.items() if name != "flow"}
    return VideoTokenizerModel(run, network, Path(), VideoLoss(without_flow, perceptual))


def make_loss(run: VideoTokenizerTrainConfig) -> VideoLoss:
    """Return the loss, with the networks that its terms in use need.

    Raises:
        DataError: no weights in the files that are named.
    """
    loss = run.model.loss
    weights = loss.weights()
    perceptual = load_perceptual(loss.vgg_weights) if loss.needs_vgg else None
    return VideoLoss(weights, perceptual, load_flow(loss.raft_weights) if weights["flow"].used else None)


def _make_lpips(run: VideoTokenizerTrainConfig) -> Lpips | None:
    """Return LPIPS where its weights are at hand: those of VGG16, named or in torch's cache, and torchmetrics'."""
    named = run.model.loss.vgg_weights
    if not named and not VGG16.cached.is_file():
        return None
    try:
        return load_lpips("vgg", named)
    except DataError as error:
        logger.info("validation without LPIPS: %s", error)
        return None


def make_network(run: VideoTokenizerTrainConfig) -> Tokenizer:
    """Return the network, with the weights of ``model.jit_ckpt_pth`` if that is set, on the current default device.

    Raises:
        DataError: no tokenizer there.
        UserError: it is of another family or compression than ``model.model``.
    """
    return with_weights(*open_network(run))


def open_network(run: VideoTokenizerTrainConfig) -> tuple[Tokenizer, Sequence[WeightSource]]:
    """Return the network on the meta device, and where its weights come from.

    Raises:
        DataError: no tokenizer there.
        UserError: it is of another family or compression than ``model.model``.
    """
    config = run.model
    weights: Sequence[WeightSource]
    if not config.jit_ckpt_pth:
        network, weights = build_deferred(lambda: build_tokenizer(config.model, **config.overrides))
        return network, weights
    network, weights = open_pretrained(file_of(config.jit_ckpt_pth, "small-image-tokenizer"))
    wanted = tokenizer_config(config.model, **config.overrides)
    for name in ("family", "spatial_compression", "temporal_compression", "patch_size"):
        found, asked = getattr(network.config, name, None), getattr(wanted, name, None)
        if found != asked:
            raise UserError(
                f"model.model={config.model} has {name} {asked}, the weights of model.jit_ckpt_pth="
                f"{config.jit_ckpt_pth} have {found}: name the model that they belong to"
            )
    check_sizes(run.data, network.config)
    return network, weights


def _synthetic(run: VideoTokenizerTrainConfig, folder: Path) -> Path:
    """Return shards of videos of synthetic drives, a third as wide again as the crop; the process of rank 0 makes them.

    Raises:
        UserError: another process waited too long for them.
    """
    from cosmos_lidar.sensors import uniform_sensor
    from cosmos_lidar.shards.plan import PrepareOptions
    from cosmos_lidar.shards.videos import VIDEOS, camera_videos, prepare_videos
    from cosmos_lidar.synth import synthesize_drive
    from cosmos_lidar.synth.rigs import pinhole_rig

    data, drives = run.data, run.synthetic_videos

    def make() -> None:
        logger.info("making %d videos of synthetic drives in %s", drives, folder)
        camera = pinhole_rig(("front",), width=data.size * 4 // 3 // 2 * 2, height=data.size)
        sensor, frames = uniform_sensor(4, 64, name="none"), 2 * data.frames
        seeds = range(run.trainer.seed, run.trainer.seed + drives)
        clips = [synthesize_drive(seed, sensor, frames, cameras=camera) for seed in seeds]
        prepare_videos(camera_videos(clips), folder, PrepareOptions(split=(0.75, 0.25), samples_per_shard=2))

    return made_once(folder, folder / VIDEOS, make)
