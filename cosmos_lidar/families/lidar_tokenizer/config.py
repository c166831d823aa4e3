"""Configuration of lidar tokenizer training. Defaults of model and data are the published settings.

A recipe is a function that returns a :class:`LidarTokenizerTrainConfig`; the command line then overrides single fields
(:mod:`cosmos_lidar.training.overrides`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.tokenizer.config import TokenizerConfig, tokenizer_config
from cosmos_lidar.models.tokenizer.video_config import VideoTokenizerConfig
from cosmos_lidar.training.config import EFFECTIVE, START, TRUST_HELP, EmaConfig, TrainConfig, refuse_below, setting
from cosmos_lidar.training.data_facts import DataFact

COMPRESSION = 8  # heights and widths of images are multiples of it

# Keys of the published recipe -> ours, beside those that all families understand (training/option_names.py).
PUBLISHED_KEYS = {
    "data.shuffle_buffer": "data.shuffle_runs",
    "dataloader_val.batch_size": "data.val_batch_size",
    "model.config.ema.enabled": "model.ema.enabled",
    "model.config.network.resolution": "model.resolution",
}


@dataclass
class LossConfig:
    """Loss: the weighted sum of these terms, each averaged over the range image."""

    ON_RESUME: ClassVar[str] = EFFECTIVE
    color: float = setting(1.0, "weight of the mean absolute difference of the images, in [-1, 1] units")
    perceptual: float = setting(0.1, "weight of the VGG feature difference; 0 switches it off for good")
    perceptual_late: float = setting(0.073, "its weight from step perceptual_boundary on")
    perceptual_boundary: int = setting(500_000, "step from which perceptual_late replaces perceptual")
    perceptual_weights: str = setting("", "file of VGG16 weights (torch or safetensors), for perceptual > 0")
    masked: bool = setting(False, "count only pixels with a return (published: every pixel counts)")
    validity: float = setting(0.1, "coding validity: weight of the cross-entropy of return or none")
    scale: float = setting(0.01, "model.scale: weight of the Laplace negative log-likelihood of the expected error")


@dataclass
class ModelConfig:
    """The network and its losses."""

    name: str = setting("CI8x8", "tokenizer family and compression: a name of build_tokenizer")
    checkpoint: str = setting(
        "", "weights to start from: folder, encoder.jit (decoder beside it), .pt, .safetensors", START
    )
    channels: int | None = setting(None, "width of the network; none keeps that of `name`")
    channels_mult: list[int] | None = setting(None, "width of each level, times channels; none keeps that of `name`")
    num_res_blocks: int | None = setting(None, "residual blocks per level; none keeps that of `name`")
    z_channels: int | None = setting(None, "channels of the latent; none keeps that of `name`")
    resolution: int | None = setting(None, "resolution that places attention; 512 gives the published lidar decoder")
    patch_size: int | None = setting(None, "side of the Haar patches, a power of two; none keeps that of `name`")
    mid_attention: bool | None = setting(None, "attention in the middle of the network; none keeps that of `name`")
    coding: Literal["auto", "published", "validity"] = setting(
        "auto", "range images: no return is the nearest range (published), or a channel of validity; auto: that of "
        "checkpoint, published without one",
    )  # fmt: skip
    scale: bool = setting(False, "decode the expected error of each pixel, too; with coding=validity")
    train_encoder: bool = setting(True, "False trains the decoder alone: latents stay what diffusion was trained on")
    loss: LossConfig = field(default_factory=LossConfig)
    ema: EmaConfig = field(default_factory=EmaConfig)


@dataclass
class DataConfig:
    """Where the range maps come from. Training reads the train split, validation the val split, never the same."""

    path: str = setting("", "shards of `cosmos-lidar prepare`: a folder, several (a,b), or an Energon metadataset YAML")
    train_split: str = setting("train", "split to train on")
    val_split: str = setting("val", "split to validate on", EFFECTIVE)
    batch_size: int = setting(10, "frames per step and rank")
    frames_per_clip: int = setting(10, "frames drawn, with replacement, from each sample")
    sequence: int = setting(1, "frames in the order of time that make one sample; above 1 for CV and DV tokenizers")
    crop_columns: int = setting(896, "width of the random crop in merged columns, a multiple of 8; 0 for whole maps")
    val_batch_size: int = setting(3, "frames per validation batch: whole maps, one frame of each sample", EFFECTIVE)
    workers: int = setting(4, "data loader workers per rank; 0 loads in the training process", EFFECTIVE)
    shuffle_runs: int = setting(16, "shuffle buffer, samples")
    bad_sample_budget: float = setting(0.001, "ratio of unusable samples that stops the run", EFFECTIVE)
    trust_sample_loaders: bool = setting(False, TRUST_HELP, EFFECTIVE)


@dataclass
class LidarTokenizerTrainConfig(TrainConfig[ModelConfig, DataConfig]):
    """Configuration of one training run of a lidar tokenizer."""

    family: str = setting("lidar_tokenizer", "file of recipes/ that this run belongs to")
    synthetic_drives: int = setting(0, "make that many synthetic drives first when data.path is empty (debug)")
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)

    def data_facts(self) -> dict[str, DataFact]:
        """Return the widest crop that the range maps in ``data.path`` have room for."""
        data = self.data
        if not data.path or not data.crop_columns:
            return {}
        from cosmos_lidar.shards.facts import read_sweep_facts
        from cosmos_lidar.shards.sources import resolve

        sources = resolve(data.path, data.train_split, data.trust_sample_loaders)
        columns = read_sweep_facts(sources, any_width=True).merged_columns
        return {"data.crop_columns": DataFact(columns // COMPRESSION * COMPRESSION, sources.folders[0], at_most=True)}

    def check(self) -> None:
        """Refuse options that cannot work together, before anything is allocated.

        Raises:
            UserError: the message names the options and valid values.
        """
        super().check()
        data = self.data
        check_sequence(data.sequence, tokenizer_config(self.model.name))
        refuse_below(
            {
                "data.val_batch_size": (data.val_batch_size, 1),
                "data.sequence": (data.sequence, 1),
            }
        )
        _check_weights(self.model)
        if not data.path and not self.synthetic_drives:
            raise UserError("data.path is empty: give the folder that `cosmos-lidar prepare` wrote (data.path=shards)")
        if data.train_split == data.val_split:
            raise UserError(f"data.train_split, data.val_split: both are {data.val_split!r}; validate on other drives")


TokenizerRun = LidarTokenizerTrainConfig  # the former name


def _check_weights(model: ModelConfig) -> None:
    loss = model.loss
    if loss.perceptual > 0 and not loss.perceptual_weights:
        raise UserError(
            f"model.loss.perceptual={loss.perceptual} needs VGG16 weights, and model.loss.perceptual_weights names no "
            "file. Give a file of torchvision's vgg16 weights (features.0.weight, …), or train without the term: "
            "model.loss.perceptual=0"
        )
    if model.scale and model.coding != "validity":
        raise UserError(f"model.coding={model.coding} with model.scale=true; valid: validity")
    if not model.train_encoder and not model.checkpoint:
        raise UserError("model.train_encoder=False: give the tokenizer whose decoder is trained, model.checkpoint=…")


def check_sequence(frames: int, shape: TokenizerConfig | VideoTokenizerConfig) -> None:
    """Refuse samples of a length that the network cannot take.

    Raises:
        UserError: the message names valid lengths.
    """
    step = shape.temporal_compression if isinstance(shape, VideoTokenizerConfig) else None
    if step is None and frames != 1:
        raise UserError(f"data.sequence={frames}: a {shape.family} tokenizer takes single frames; valid: 1")
    if step is not None and (frames - 1) % step:
        below = (frames - 1) // step * step + 1
        wanted = f"one more than a multiple of {step}, such as {below} or {below + step}"
        raise UserError(f"data.sequence={frames}: {wanted}")
