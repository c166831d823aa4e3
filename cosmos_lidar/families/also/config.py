"""Configuration of ALSO pre-training: backbone, pretext task, sweeps. Defaults are the published ones for nuScenes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.also.epochs import epoch_facts
from cosmos_lidar.training.config import (
    EFFECTIVE,
    FIXED,
    QUIET,
    START,
    TRUST_HELP,
    EmaConfig,
    ParallelConfig,
    TrainConfig,
    refuse_below,
    setting,
)
from cosmos_lidar.training.data_facts import DataFact

if TYPE_CHECKING:
    from cosmos_lidar.models.sparse.inputs import VoxelInput
    from cosmos_lidar.shards.sources import Sources

# Keys of the published configurations -> ours, beside those that all families understand (training/option_names.py).
COMMON_KEYS = {
    "cfg": "recipe",
    "cfg.dataset_root": "data.path",
    "cfg.inputs": "model.inputs",
    "cfg.manifold_points": "data.points",
    "cfg.network.backbone": "model.backbone",
    "cfg.network.backbone_params.quantization_params.voxel_size": "model.voxel_size",
    "cfg.optimizer_params.lr": "optim.lr",
    "cfg.resume": "trainer.resume",
    "cfg.save_dir": "log.root",
    "cfg.threads": "data.workers",
    "cfg.train_split": "data.train_split",
    "cfg.transforms.random_flip": "data.flip",
    "cfg.transforms.random_rotation_z": "data.rotation",
    "cfg.transforms.voxel_decimation": "data.decimation",
    "cfg.val_split": "data.val_split",
    "data.shuffle_buffer": "data.shuffle",
}
PUBLISHED_KEYS = COMMON_KEYS | {
    "cfg.loss.intensity_loss_lambda": "model.loss.intensity",
    "cfg.loss.recons_loss_lambda": "model.loss.occupancy",
    "cfg.network.backbone_params.quantization_params.spatial_extent": "model.spatial_extent",
    "cfg.network.decoder_params.radius": "model.radius",
    "cfg.network.latent_size": "model.latent_size",
    "cfg.non_manifold_points": "data.queries",
    "cfg.training.batch_size": "data.batch_size",
    "cfg.training.max_epochs": "data.epochs",
    "cfg.training.val_interval": "data.val_interval",
}

Backbones = Literal["MinkUNet34", "MinkUNet18", "MinkUNet18SC", "SPVCNN", "SECOND"]
Inputs = Literal["intensities", "pos", "x"]
CHANNELS = {"intensities": 1, "pos": 3, "x": 1}
_BEV_STRIDE, _Z_CELLS = 16, 40  # what the grid of SECOND is divided by, and its voxels along z
_WIDTH = 32  # published


@dataclass
class OccupancyConfig:
    """Weights of the loss; a term of weight 0 is left out."""

    ON_RESUME: ClassVar[str] = EFFECTIVE
    occupancy: float = setting(1.0, "weight of the cross-entropy of occupancy")
    intensity: float = setting(1.0, "weight of the mean absolute error of intensity")


@dataclass
class ContrastConfig:
    """Contrast of bird's-eye-view cells of two scans of a drive (BEVContrast); of SECOND, those of its map."""

    weight: float = setting(0.0, "weight in the loss; 0: sweeps are taken one by one, poses are not needed", FIXED)
    gap: int = setting(2, "sweeps from one scan to the other", FIXED)
    translation: float = setting(4.0, "standard deviation of the random translation of each scan, meters", FIXED)
    stride: int = setting(6, "voxels along the side of a cell; SECOND: always 8", EFFECTIVE)
    half_extent: float = setting(
        51.2, "from the sensor to the border of the cells, meters; SECOND: model.spatial_extent", EFFECTIVE
    )
    temperature: float = setting(0.07, "that cosines are divided by", EFFECTIVE)
    most_cells: int = setting(4096, "cells of a batch of a rank that are compared, at random", EFFECTIVE)
    gather: bool = setting(
        False, "compare with the cells of all ranks, not of one alone (published: one GPU)", EFFECTIVE
    )


@dataclass
class DistillationConfig:
    """Distillation from image features that the samples have: `prepare --task points --image-features`; not SECOND."""

    weight: float = setting(0.0, "weight in the loss of 1 - cosine at the points that cameras see; 0: off", FIXED)
    channels: int = setting(0, "of the image features; those of data.path", FIXED)


@dataclass
class AlsoModelConfig:
    """Backbone, its voxels, and the occupancy decoder."""

    backbone: Backbones = setting("MinkUNet34", "sparse backbone")
    width: int = setting(_WIDTH, "channels of the backbone's first layer, all others in proportion; not of SECOND")
    checkpoint: str = setting("", "weights of the backbone to start from: any file that load_backbone reads", START)
    inputs: list[Inputs] = setting(
        ["intensities"], "features of a voxel, in this order: intensities, pos (x, y, z), x (1)"
    )
    voxel_size: float | list[float] = setting(0.1, "meters; of SECOND along x, y, z")
    spatial_extent: list[float] = setting([], "SECOND: the range, x y z low, then x y z high, meters")
    published_features: bool = setting(
        False, "SECOND: features of voxels as the published pre-training computed them, which are no means"
    )
    latent_size: int = setting(128, "outputs of the backbone per point, and width of the decoder")
    radius: float = setting(1.0, "a query is predicted from the points nearer than this, meters; SECOND: BEV cells")
    most_neighbors: int = setting(32, "of a query")
    neighbors: Literal["random", "nearest", "index"] = setting(
        "random", "which ones where there are more; index: the first ones of the cloud, as published"
    )
    loss: OccupancyConfig = field(default_factory=OccupancyConfig)
    contrast: ContrastConfig = field(default_factory=ContrastConfig)
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    ema: EmaConfig = field(default_factory=EmaConfig)

    @property
    def name(self) -> str:
        """Name of the network in :func:`cosmos_lidar.models.sparse.build_backbone`."""
        return self.backbone.lower()

    @property
    def on_grid(self) -> bool:
        """The voxels are those of a range with borders, and queries are predicted from a bird's-eye-view map."""
        return self.backbone == "SECOND"

    @property
    def channels(self) -> int:
        """Features of a voxel."""
        return sum(CHANNELS[name] for name in self.inputs)

    @property
    def voxel_sizes(self) -> list[float]:
        """Meters along x, y, z, or one number for all."""
        return self.voxel_size if isinstance(self.voxel_size, list) else [self.voxel_size]

    @property
    def voxel_input(self) -> VoxelInput:
        """How the voxels of a point cloud are made."""
        from cosmos_lidar.models.sparse.inputs import VoxelInput

        return VoxelInput(
            tuple(self.inputs), tuple(self.voxel_sizes), tuple(self.spatial_extent), self.published_features
        )

    @property
    def grid(self) -> tuple[int, int, int]:
        """Voxels of the range along x, y, z; of SECOND."""
        low, high = self.spatial_extent[:3], self.spatial_extent[3:]
        x, y, z = (round((b - a) / size) for a, b, size in zip(low, high, self.voxel_sizes, strict=True))
        return x, y, z


@dataclass
class AlsoDataConfig:
    """Where sweeps come from, and what is drawn of them."""

    path: str = setting("", "shards of points: a folder, several (a,b), or an Energon metadataset YAML")
    train_split: str = setting("train", "split to train on")
    val_split: str = setting("val", "split to validate on", EFFECTIVE)
    batch_size: int = setting(16, "sweeps per step and data-parallel rank")
    workers: int = setting(6, "data loader workers per rank; 0 loads in the training process", EFFECTIVE)
    shuffle: int = setting(256, "shuffle buffer, encoded sweeps")
    epochs: int = setting(0, "above 0: sets trainer.max_steps, where that is not given", QUIET)
    val_interval: int = setting(0, "above 0: epochs between validations, sets trainer.val_every likewise", QUIET)
    warmup_epochs: float = setting(
        0.0, "above 0: sets optim.warmup_steps, and optim.decay_until to the last step of data.epochs, likewise", QUIET
    )
    intensity_scale: float = setting(1.0, "intensities of the recordings are divided by this")
    decimation: float | None = setting(0.1, "one point stays per cell of this size, meters; null keeps all")
    points: int = setting(16_384, "most points of a sweep that the network sees")
    queries: int = setting(2048, "query points of a sweep")
    sweeps: int = setting(0, "sweeps before, and as many after, whose returns give queries, too; needs poses")
    sweep_gap: int = setting(1, "from one of these sweeps to the next")
    query_distance: float = setting(0.1, "of the queries behind and in front of a return, meters at most")
    rotation: bool = setting(True, "turn sweeps by any angle about z")
    flip: bool = setting(True, "mirror every other sweep in x")
    bad_sample_budget: float = setting(0.001, "ratio of unusable sweeps that stops the run", EFFECTIVE)
    trust_sample_loaders: bool = setting(False, TRUST_HELP, EFFECTIVE)


@dataclass
class AlsoTrainConfig(TrainConfig[AlsoModelConfig, AlsoDataConfig]):
    """Configuration of one pre-training run."""

    family: str = setting("also_pretrain", "file of recipes/ that this run belongs to")
    synthetic_drives: int = setting(0, "make that many short synthetic drives first when data.path is empty (debug)")
    model: AlsoModelConfig = field(default_factory=AlsoModelConfig)
    data: AlsoDataConfig = field(default_factory=AlsoDataConfig)

    def data_facts(self) -> dict[str, DataFact]:
        """Return the steps that ``data.epochs`` and ``data.val_interval`` are with the sweeps in ``data.path``.

        With distillation also the channels of their image features.

        Raises:
            UserError: distillation, and sweeps without image features.
        """
        data, facts = self.data, {}
        if not data.path or not (data.epochs or data.val_interval or self.model.distillation.weight):
            return {}
        from cosmos_lidar.shards.sources import resolve

        sources = resolve(data.path, data.train_split, data.trust_sample_loaders)
        sweeps, where = sources.samples, sources.folders[0]
        if self.model.distillation.weight:
            facts["model.distillation.channels"] = DataFact(image_channels(sources), where)
        if not (data.epochs or data.val_interval):
            return facts
        return facts | epoch_facts(self, data.epochs, data.val_interval, sweeps, where, data.warmup_epochs)

    def check(self) -> None:
        """Refuse options that cannot work together, before anything is allocated.

        Raises:
            UserError: the message names the options and valid values.
        """
        super().check()
        model, data = self.model, self.data
        refuse_below(
            {
                "model.width": (model.width, 1),
                "model.latent_size": (model.latent_size, 1),
                "model.most_neighbors": (model.most_neighbors, 1),
                "data.epochs": (data.epochs, 0),
                "data.val_interval": (data.val_interval, 0),
                "data.warmup_epochs": (data.warmup_epochs, 0),
                "model.contrast.weight": (model.contrast.weight, 0),
                "model.contrast.gap": (model.contrast.gap, 1),
                "model.contrast.translation": (model.contrast.translation, 0),
                "model.contrast.stride": (model.contrast.stride, 1),
                "model.contrast.most_cells": (model.contrast.most_cells, 1),
                "data.points": (data.points, 1),
                "data.sweeps": (data.sweeps, 0),
                "data.sweep_gap": (data.sweep_gap, 1),
                "data.queries": (data.queries, 3 * (1 + 2 * max(data.sweeps, 0))),
            }
        )
        refuse_zero({"model.radius": model.radius, "data.query_distance": data.query_distance})
        refuse_zero({"data.intensity_scale": data.intensity_scale, "data.decimation": data.decimation or 1.0})
        check_backbone(model)
        check_contrast(model)
        check_distillation(self)
        self._check_parallel()
        if not data.path and not self.synthetic_drives:
            raise UserError("data.path is empty: give a folder of shards of points (data.path=shards)")

    def _check_parallel(self) -> None:
        if self.trainer.precision != "fp32":
            raise UserError(f"trainer.precision={self.trainer.precision}: not of sparse networks; valid: fp32")
        check_parallel(self.parallel)


def check_parallel(parallel: ParallelConfig) -> None:
    """Refuse what sparse networks do not have: recomputation and compilation.

    Raises:
        UserError: the message names the options and valid values.
    """
    if parallel.recompute != "none" or parallel.compile:
        raise UserError(
            f"parallel.recompute={parallel.recompute} parallel.compile={str(parallel.compile).lower()}: not of "
            "sparse networks; valid: parallel.recompute=none parallel.compile=false"
        )


def check_inputs(inputs: Sequence[Inputs]) -> None:
    """Refuse voxels without features, or with one twice.

    Raises:
        UserError: the message has the valid ones.
    """
    if not inputs or len(set(inputs)) < len(inputs):
        raise UserError(f"model.inputs={inputs}: expected some of {', '.join(CHANNELS)}, each once")


def check_contrast(model: AlsoModelConfig) -> None:
    """Refuse a contrast of scans without cells.

    Raises:
        UserError: the message names the option and valid values.
    """
    contrast = model.contrast
    if not contrast.weight:
        return
    refuse_zero({"model.contrast.temperature": contrast.temperature})
    if not model.on_grid and 2 * contrast.half_extent < contrast.stride * model.voxel_sizes[0]:
        raise UserError(f"model.contrast.half_extent={contrast.half_extent}: smaller than a cell")


def check_distillation(run: AlsoTrainConfig) -> None:
    """Refuse distillation without image features, or into SECOND, which has no features of points.

    Raises:
        UserError: the message names the option and valid values.
    """
    weight = run.model.distillation.weight
    refuse_below({"model.distillation.weight": (weight, 0)})
    if weight and (run.model.on_grid or not run.data.path):
        valid = "MinkUNet or SPVCNN, and data.path of `prepare --task points --image-features`"
        raise UserError(f"model.distillation.weight={weight}: valid with {valid}")


def image_channels(sources: Sources) -> int:
    """Return the channels of the image features of shards of points.

    Raises:
        UserError: the first sample of a folder has none, or they differ.
    """
    from cosmos_lidar.shards.points import read_points_facts

    channels = read_points_facts(sources).image_channels
    if channels is None:
        hint = "`cosmos-lidar prepare --task points --image-features DIR` writes them"
        raise UserError(f"model.distillation.weight: {sources.folders[0]} has no image features of one D: {hint}")
    return channels


def check_backbone(model: AlsoModelConfig) -> None:
    """Refuse voxels and inputs that the backbone does not take.

    Raises:
        UserError: the message names the option and valid values.
    """
    sizes, extent = model.voxel_sizes, model.spatial_extent
    wanted = (3, 6) if model.on_grid else (1, 0)
    refuse_zero({"model.voxel_size": min(sizes, default=0.0)})
    check_inputs(model.inputs)
    if model.on_grid and model.width != _WIDTH:
        raise UserError(f"model.width={model.width}: the layers of SECOND are as published; valid: {_WIDTH}")
    if (len(sizes), len(extent)) != wanted:
        valid = "a voxel_size of 3 numbers and a spatial_extent of 6" if model.on_grid else "one voxel_size, no extent"
        raise UserError(
            f"model.voxel_size={model.voxel_size} model.spatial_extent={extent}: {model.backbone} takes {valid}"
        )
    if model.on_grid:
        x, y, z = model.grid
        if min(x, y) < _BEV_STRIDE or x % _BEV_STRIDE or y % _BEV_STRIDE or z != _Z_CELLS:
            raise UserError(
                f"model.spatial_extent={extent}: {x} x {y} x {z} voxels of {sizes} m; expected multiples of "
                f"{_BEV_STRIDE} along x and y, and {_Z_CELLS} along z"
            )


def refuse_zero(values: dict[str, float]) -> None:
    """Raise UserError for the first option of {key: value} that is not above 0, or infinite."""
    for key, value in values.items():
        if not 0 < value < math.inf:
            raise UserError(f"{key}={value}: expected more than 0")
