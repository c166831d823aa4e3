"""Configuration of semantic segmentation with a sparse backbone. Defaults are ALSO's published ones for nuScenes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.also.config import CHANNELS, COMMON_KEYS, Inputs, check_inputs, check_parallel, refuse_zero
from cosmos_lidar.families.also.epochs import epoch_facts
from cosmos_lidar.training.config import (
    EFFECTIVE,
    QUIET,
    START,
    TRUST_HELP,
    EmaConfig,
    TrainConfig,
    refuse_below,
    setting,
)
from cosmos_lidar.training.data_facts import DataFact
from cosmos_lidar.weights import file_of

if TYPE_CHECKING:
    from cosmos_lidar.models.sparse.inputs import VoxelInput

# Keys of the published configurations -> ours.
PUBLISHED_KEYS = COMMON_KEYS | {
    "cfg.downstream.batch_size": "data.batch_size",
    "cfg.downstream.checkpoint_dir": "model.checkpoint_dir",
    "cfg.downstream.checkpoint_name": "model.checkpoint",
    "cfg.downstream.max_epochs": "data.epochs",
    "cfg.downstream.skip_ratio": "data.skip_ratio",
    "cfg.downstream.val_interval": "data.val_interval",
}
# Skip ratio -> published epochs, and epochs between validations.
PUBLISHED_EPOCHS = {1: (30, 5), 2: (50, 5), 10: (100, 10), 100: (500, 50), 1000: (1000, 100)}
BY_RATIO = -1


@dataclass
class SegmentationLossConfig:
    """Weights of the loss; a term of weight 0 is not computed."""

    ON_RESUME: ClassVar[str] = EFFECTIVE
    cross_entropy: float = setting(1.0, "weight of the cross-entropy")
    lovasz: float = setting(0.0, "weight of Lovasz-softmax, which is a bound of 1 - IoU; published: 0")


@dataclass
class SemsegModelConfig:
    """Backbone, its last layer, and its voxels."""

    backbone: Literal["MinkUNet34", "MinkUNet18", "MinkUNet18SC", "SPVCNN"] = setting("MinkUNet34", "sparse backbone")
    width: int = setting(32, "channels of the backbone's first layer, all others in proportion")
    checkpoint: str = setting("", "pre-trained weights: any file that load_backbone reads; empty: from scratch", START)
    checkpoint_dir: str = setting("", "folder of model.checkpoint, where that is the name of a file", START)
    linear_probing: bool = setting(False, "train the last layer alone; batch norm keeps the statistics of the weights")
    inputs: list[Inputs] = setting(
        ["intensities"], "features of a voxel, in this order: intensities, pos (x, y, z), x (1)"
    )
    voxel_size: float = setting(0.1, "meters")
    label_map: str = setting("nuscenes", "classes: name of a label map (nuscenes, semantickitti, …), or a YAML file")
    anneal: bool = setting(True, "without optim.decay_until: a cosine brings the learning rate to 0 at the last step")
    loss: SegmentationLossConfig = field(default_factory=SegmentationLossConfig)
    ema: EmaConfig = field(default_factory=EmaConfig)

    @property
    def name(self) -> str:
        """Name of the network in :func:`cosmos_lidar.models.sparse.build_backbone`."""
        return self.backbone.lower()

    @property
    def channels(self) -> int:
        """Features of a voxel."""
        return sum(CHANNELS[name] for name in self.inputs)

    @property
    def voxel_input(self) -> VoxelInput:
        """How the voxels of a point cloud are made."""
        from cosmos_lidar.models.sparse.inputs import VoxelInput

        return VoxelInput(tuple(self.inputs), (self.voxel_size,))

    @property
    def weights(self) -> Path | None:
        """The file of pre-trained weights; None without."""
        return Path(self.checkpoint_dir, file_of(self.checkpoint, "small-backbone")) if self.checkpoint else None


@dataclass
class SemsegDataConfig:
    """Where labeled sweeps come from, and what is drawn of them."""

    path: str = setting("", "shards of points with labels: a folder, several (a,b), or an Energon metadataset YAML")
    train_split: str = setting("train", "split to train on")
    val_split: str = setting("val", "split to validate on", EFFECTIVE)
    skip_ratio: int = setting(
        1, "train on one in so many scenes or sweeps, by the published lists: 1, 2, 10, 100, 1000"
    )
    batch_size: int = setting(8, "sweeps per step and data-parallel rank")
    workers: int = setting(6, "data loader workers per rank; 0 loads in the training process", EFFECTIVE)
    shuffle: int = setting(256, "shuffle buffer, encoded sweeps")
    epochs: int = setting(
        BY_RATIO, "sets trainer.max_steps, where that is not given; -1: the published number for data.skip_ratio, "
        "0: trainer.max_steps counts", QUIET,
    )  # fmt: skip
    val_interval: int = setting(
        BY_RATIO, "epochs between validations, sets trainer.val_every likewise; -1: as published, 0: trainer.val_every",
        QUIET,
    )  # fmt: skip
    intensity_scale: float = setting(1.0, "intensities of the recordings are divided by this")
    decimation: float | None = setting(0.1, "one point stays per cell of this size, meters; null keeps all")
    points: int = setting(16_384, "most points of a sweep in training; 0: all. Validation takes all")
    drop_unlabeled: bool = setting(False, "training: leave out points of the ignored class")
    rotation: bool = setting(True, "turn sweeps by any angle about z")
    flip: bool = setting(True, "mirror every other sweep in x")
    bad_sample_budget: float = setting(0.001, "ratio of unusable sweeps that stops the run", EFFECTIVE)
    trust_sample_loaders: bool = setting(False, TRUST_HELP, EFFECTIVE)

    @property
    def schedule(self) -> tuple[int, int]:
        """Epochs, and epochs between validations; 0 where the steps of the trainer count."""
        published = PUBLISHED_EPOCHS.get(self.skip_ratio, (0, 0))
        asked = (self.epochs, self.val_interval)
        epochs, interval = (
            usual if chosen == BY_RATIO else chosen for usual, chosen in zip(published, asked, strict=True)
        )
        return epochs, interval


@dataclass
class SemsegTrainConfig(TrainConfig[SemsegModelConfig, SemsegDataConfig]):
    """Configuration of one training run of semantic segmentation."""

    family: str = setting("also_semseg", "file of recipes/ that this run belongs to")
    synthetic_drives: int = setting(0, "make that many short synthetic drives first when data.path is empty (debug)")
    model: SemsegModelConfig = field(default_factory=SemsegModelConfig)
    data: SemsegDataConfig = field(default_factory=SemsegDataConfig)

    def data_facts(self) -> dict[str, DataFact]:
        """Return the steps that the epochs of this skip ratio are with the labeled sweeps in ``data.path``."""
        data, schedule = self.data, self.data.schedule
        if not data.path or not any(schedule):
            return {}
        from cosmos_lidar.shards.label_subset import select_labeled
        from cosmos_lidar.shards.sources import resolve

        sources = resolve(data.path, data.train_split, data.trust_sample_loaders)
        ratio = data.skip_ratio
        sweeps = sources.samples if ratio == 1 else len(select_labeled(data.path, data.train_split, ratio))
        return epoch_facts(self, *schedule, sweeps, sources.folders[0])

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
                "model.loss.cross_entropy": (model.loss.cross_entropy, 0),
                "model.loss.lovasz": (model.loss.lovasz, 0),
                "data.skip_ratio": (data.skip_ratio, 1),
                "data.epochs": (data.epochs, BY_RATIO),
                "data.val_interval": (data.val_interval, BY_RATIO),
                "data.points": (data.points, 0),
            }
        )
        refuse_zero({"model.voxel_size": model.voxel_size, "data.intensity_scale": data.intensity_scale})
        refuse_zero({"data.decimation": data.decimation or 1.0})
        check_inputs(model.inputs)
        if model.loss.cross_entropy == model.loss.lovasz == 0:
            raise UserError("model.loss.cross_entropy=0 model.loss.lovasz=0: one of them above 0")
        if model.linear_probing and not model.checkpoint:
            raise UserError("model.linear_probing=true: give pre-trained weights (model.checkpoint=FILE)")
        if self.trainer.precision == "fp8":
            raise UserError("trainer.precision=fp8: sparse convolutions have none; valid: fp32, bf16")
        check_parallel(self.parallel)
        if not data.path and not self.synthetic_drives:
            raise UserError("data.path is empty: give a folder of shards of points with labels (data.path=shards)")
