"""Configuration of image and video tokenizer training. Defaults of model and data are the published NeMo recipe's.

Where the published settings lose quality without need (no EMA, no warm-up, the same corner of the
same frames at each visit), the default is what the published fine-tuning of the same networks in PyTorch does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.losses.schedule import Weight
from cosmos_lidar.models.tokenizer.config import TokenizerConfig, tokenizer_config
from cosmos_lidar.models.tokenizer.video_config import VideoTokenizerConfig
from cosmos_lidar.training.config import (
    EFFECTIVE,
    FIXED,
    START,
    TRUST_HELP,
    EmaConfig,
    TrainConfig,
    refuse_below,
    setting,
)

# Keys of published recipes -> ours, beside those that all families understand (training/option_names.py).
PUBLISHED_KEYS = {
    "checkpoint.load_path": "model.jit_ckpt_pth",
    "data.shuffle_buffer": "data.shuffle",
    "dataloader_val.batch_size": "data.val_batch_size",
}


@dataclass
class AdversarialConfig:
    """Adversarial loss and its discriminator; off, as in the published fine-tuning."""

    ON_RESUME: ClassVar[str] = EFFECTIVE
    weight: float = setting(0.0, "weight of the adversarial term (hinge); 0 builds no discriminator")
    adaptive: bool = setting(False, "scale it so that its gradient is as large as that of the other terms")
    start: int = setting(0, "step at which the adversarial loss starts")
    channels: int = setting(64, "width of the discriminator's first layer", FIXED)
    layers: int = setting(3, "layers of the discriminator that halve height and width", FIXED)


@dataclass
class VideoLossConfig:
    """Loss: the weighted sum of these terms. Those of weight 0 need no network and no file.

    The published networks have no KL or commitment term: AE latents and FSQ codes have nothing to be pulled to.
    """

    ON_RESUME: ClassVar[str] = EFFECTIVE
    color: float = setting(1.0, "weight of the mean absolute difference, in [-1, 1] units")
    perceptual: float = setting(0.1, "weight of the VGG feature difference; 0 switches it off for good")
    perceptual_late: float = setting(0.073, "its weight from step perceptual_boundary on")
    perceptual_boundary: int = setting(500_000, "step from which perceptual_late replaces perceptual")
    gram: float = setting(0.0, "weight of the difference of the Gram matrices of VGG features, of whole clips")
    gram_late: float = setting(0.0, "its weight from step gram_boundary on (published: 0.062, switched off)")
    gram_boundary: int = setting(500_000, "step from which gram_late replaces gram")
    flow: float = setting(0.0, "weight of the difference of optical flow (RAFT)")
    flow_late: float = setting(0.0, "its weight from step flow_boundary on (published: 0.01, switched off)")
    flow_boundary: int = setting(250_000, "step from which flow_late replaces flow")
    vgg_weights: str = setting("", "file of torchvision's vgg16 weights, for perceptual and gram; empty: torch's cache")
    raft_weights: str = setting("", "file of torchvision's raft_large weights, for flow; empty: torch's cache")
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)

    def weights(self) -> dict[str, Weight]:
        """Return the weights by term."""
        changing = {
            name: Weight(*(getattr(self, name + part) for part in ("", "_late", "_boundary")))
            for name in ("perceptual", "gram", "flow")
        }
        if self.perceptual == 0:
            del changing["perceptual"]
        return {"color": Weight(self.color, self.color, 0), **changing}

    @property
    def needs_vgg(self) -> bool:
        """A term in use compares features of VGG16."""
        weights = self.weights()
        return "perceptual" in weights or weights["gram"].used


@dataclass
class VideoModelConfig:
    """The network and its losses."""

    model: str = setting("Cosmos-1.0-Tokenizer-CV8x8x8", "published name, or a name of build_tokenizer: DV8x16x16")
    jit_ckpt_pth: str = setting(
        "", "weights to start from: folder with autoencoder.jit or encoder.jit and decoder.jit, .pt, .safetensors, or "
        "a name of the Hugging Face hub such as nvidia/Cosmos-1.0-Tokenizer-CV8x8x8; empty starts from random ones",
        START,
    )  # fmt: skip
    channels: int | None = setting(None, "width of the network; none keeps that of `model`")
    channels_mult: list[int] | None = setting(None, "width of each level, times channels; none keeps that of `model`")
    num_res_blocks: int | None = setting(None, "residual blocks per level; none keeps that of `model`")
    z_channels: int | None = setting(None, "channels before the latent; none keeps that of `model`")
    loss: VideoLossConfig = field(default_factory=VideoLossConfig)
    ema: EmaConfig = field(default_factory=lambda: EmaConfig(enabled=True))

    @property
    def name(self) -> str:
        """The network's name."""
        return self.model

    @property
    def overrides(self) -> dict[str, object]:
        """Fields of the network's shape that differ from those of the named one."""
        shape = ("channels", "channels_mult", "num_res_blocks", "z_channels")
        return {name: getattr(self, name) for name in shape if getattr(self, name) is not None}


@dataclass
class VideoDataConfig:
    """Where the videos come from, and what is cut out of them."""

    path: str = setting("", "shards of mp4 files with Energon's index: a folder, several (a,b), or a metadataset YAML")
    train_split: str = setting("train", "split to train on")
    val_split: str = setting("val", "split to validate on", EFFECTIVE)
    batch_size: int = setting(1, "clips per step and rank")
    frames: int = setting(33, "frames of a clip: one more than a multiple of the temporal compression")
    size: int = setting(256, "height and width of the crop, a multiple of the spatial compression")
    resize: int = setting(0, "scale the short side to this before cropping; 0 keeps the size, or enlarges to `size`")
    stride: int = setting(1, "take every n-th frame")
    fps: float = setting(0.0, "take frames at this rate, whatever that of the video; 0 takes every stride-th")
    val_batch_size: int = setting(1, "clips per validation batch: from the middle of each video", EFFECTIVE)
    workers: int = setting(8, "data loader workers per rank; 0 loads in the training process", EFFECTIVE)
    shuffle: int = setting(64, "shuffle buffer, encoded videos")
    bad_sample_budget: float = setting(0.01, "ratio of unusable videos that stops the run", EFFECTIVE)
    trust_sample_loaders: bool = setting(False, TRUST_HELP, EFFECTIVE)


@dataclass
class VideoTokenizerTrainConfig(TrainConfig[VideoModelConfig, VideoDataConfig]):
    """Configuration of one training run of an image or video tokenizer."""

    family: str = setting("video_tokenizer", "file of recipes/ that this run belongs to")
    synthetic_videos: int = setting(0, "make that many videos of synthetic drives first when data.path is empty")
    model: VideoModelConfig = field(default_factory=VideoModelConfig)
    data: VideoDataConfig = field(default_factory=VideoDataConfig)

    def check(self) -> None:
        """Refuse options that cannot work together, before anything is allocated.

        Raises:
            UserError: the message names the options and valid values.
        """
        super().check()
        data = self.data
        refuse_below(
            {
                "data.val_batch_size": (data.val_batch_size, 1),
                "data.frames": (data.frames, 1),
                "data.stride": (data.stride, 1),
                "data.fps": (data.fps, 0),
            }
        )
        check_sizes(data, tokenizer_config(self.model.model, **self.model.overrides))
        check_loss(self.model.loss, data)
        if not data.path and not self.synthetic_videos:
            raise UserError("data.path is empty: give the folder of tars of mp4 files (data.path=shards)")


VideoRun = VideoTokenizerTrainConfig  # the former name


def check_loss(loss: VideoLossConfig, data: VideoDataConfig) -> None:
    """Refuse loss terms whose network is missing, or cannot take images of this size.

    Raises:
        UserError: the message names what to download, and how to do without.
    """
    from cosmos_lidar.models.pretrained import RAFT, VGG16

    weights = loss.weights()
    if loss.needs_vgg and not loss.vgg_weights and not VGG16.cached.is_file():
        off = "model.loss.perceptual=0" + (" model.loss.gram=0 model.loss.gram_late=0" * weights["gram"].used)
        raise UserError(
            "the perceptual loss needs VGG16 weights, and model.loss.vgg_weights names no file. Give torchvision's "
            f"{VGG16.name} (model.loss.vgg_weights={VGG16.name}, or put it into {VGG16.cached.parent}), or train "
            f"without the term: {off}"
        )
    if weights["flow"].used:
        if not loss.raft_weights and not RAFT.cached.is_file():
            raise UserError(
                "model.loss.flow needs RAFT's weights, and model.loss.raft_weights names no file. Give torchvision's "
                f"{RAFT.name} (or put it into {RAFT.cached.parent}), or train without the term: model.loss.flow=0 "
                "model.loss.flow_late=0"
            )
        from cosmos_lidar.losses.flow import check_flow_size

        try:
            check_flow_size(data.size, data.size)
        except DataError as error:
            raise UserError(f"data.size={data.size}: {error}") from error


def check_sizes(data: VideoDataConfig, shape: TokenizerConfig | VideoTokenizerConfig) -> None:
    """Refuse crops that the network would silently cut, or cannot take.

    Raises:
        UserError: the message names the nearest valid sizes.
    """
    time = shape.temporal_compression if isinstance(shape, VideoTokenizerConfig) else None
    if time is None and data.frames != 1:
        raise UserError(f"data.frames={data.frames}: a tokenizer of single images is trained with data.frames=1")
    if time is not None and (data.frames - 1) % time:
        below = (data.frames - 1) // time * time + 1
        wanted = f"one more than a multiple of {time}, such as {below} or {below + time}"
        raise UserError(f"data.frames={data.frames}: {wanted}")
    if data.size % shape.spatial_compression or data.size < 1:
        raise UserError(f"data.size={data.size}: a multiple of {shape.spatial_compression}")
