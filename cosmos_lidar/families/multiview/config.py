"""Configuration of multi-view video diffusion training. Defaults of model and data are the published settings."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.dit.config import LoraConfig
from cosmos_lidar.training.config import EFFECTIVE, START, TRUST_HELP, EmaConfig, TrainConfig, refuse_below, setting
from cosmos_lidar.training.data_facts import DataFact

# Keys of the published recipes -> ours, beside those that all families understand (training/option_names.py).
PUBLISHED_KEYS = {
    "data.shuffle_buffer": "data.shuffle",
    "dataloader_train.dataset.dataset_dir": "data.path",
    "model.config.model_manager_config.dit_path": "model.checkpoint",
    "model.config.high_sigma_ratio": "model.noise.high_ratio",
    "model.config.pipe_config.ema.enabled": "model.ema.enabled",
    "model.config.fsdp_shard_size": "parallel.data_shard",
    "model_parallel.context_parallel_size": "parallel.context",
}
_STEP = 8  # pixels of a latent, along height and along width
_PER_LATENT = 4  # frames of a latent, after the first one


@dataclass
class FlowNoiseConfig:
    """Noise levels of training: sigma log-normal, one for all views of a clip, and now and then a high one."""

    ON_RESUME: ClassVar[str] = EFFECTIVE
    mean: float = setting(0.0, "mean of ln sigma, before scale_by_frames")
    std: float = setting(1.0, "standard deviation of ln sigma")
    scale_by_frames: bool = setting(True, "multiply sigma by the square root of the latent frames of a view")
    high_ratio: float = setting(0.05, "ratio of clips whose sigma is drawn from high instead, evenly in ln sigma")
    high: list[float] = setting([200.0, 100_000.0], "lowest and highest of these levels")


@dataclass
class ConditionConfig:
    """What clips are generated from: first frames, and text."""

    ON_RESUME: ClassVar[str] = EFFECTIVE
    frames: list[int] = setting(
        [0, 1], "numbers of conditioning latent frames of each view; [0,1,2] trains 5 frames too"
    )
    weights: list[float] = setting([], "probability of each of these, such as [0.5,0.25,0.25]; empty: equal")
    text_dropout: float = setting(0.2, "ratio of clips whose text is left out, for guidance")


@dataclass
class ControlConfig:
    """Control videos that clips are generated from, beside first frames and text."""

    kinds: list[str] = setting([], "control videos in the shards (`prepare --control`), such as [depth]; [] for none")
    dropout: float = setting(0.1, "ratio of clips that each kind is left out of: any of them suffice then", EFFECTIVE)
    blocks: int = setting(0, "copies of the first blocks that see them (ControlNet); 0: a projection of them alone")


@dataclass
class SweepConfig:
    """Sweeps of a lidar that clips are generated from, beside first frames and text."""

    size: list[int] = setting([], "rows, columns of range images in the shards (`prepare --sweeps`); [] for none")
    dropout: float = setting(0.1, "ratio of clips that sweeps are left out of: images alone suffice then", EFFECTIVE)


@dataclass
class MultiviewModelConfig:
    """The network and its training objective."""

    name: str = setting("predict2_2b_multiview", "shape of the network: a name of build_dit that begins with predict2")
    checkpoint: str = setting("", "weights to start from: .pt or .safetensors with published names", START)
    compat: bool = setting(False, "round rotary angles and times to bfloat16, as the published programs do")
    attention_scope: Literal["all_views", "same_view_or_frame"] = setting(
        "all_views", "tokens attend to all views (published), or to their own view and the same instant of the others"
    )
    rays: bool = setting(False, "tokens get the rays of their cameras too: any rig of calibrated cameras, any number")
    loss_scale: float = setting(10.0, "multiplies the loss that is differentiated", EFFECTIVE)
    noise: FlowNoiseConfig = field(default_factory=FlowNoiseConfig)
    condition: ConditionConfig = field(default_factory=ConditionConfig)
    control: ControlConfig = field(default_factory=ControlConfig)
    sweeps: SweepConfig = field(default_factory=SweepConfig)
    lora: LoraConfig = field(
        default_factory=lambda: LoraConfig(
            targets=["q_proj", "k_proj", "v_proj", "output_proj", "mlp.layer1", "mlp.layer2"]
        )
    )
    ema: EmaConfig = field(default_factory=lambda: EmaConfig(kind="power"))


@dataclass
class VideoVaeConfig:
    """What encodes videos during training; nothing where ``data.path`` holds latents."""

    checkpoint: str = setting("", "Wan2.1 VAE: makes data.path a folder of `prepare --task multiview`")
    cache: str = setting("", "folder of the latent cache, so that each window is encoded once; empty: none", EFFECTIVE)
    window: int = setting(4, "frames that are encoded at once; latents do not depend on it", EFFECTIVE)
    batch: int = setting(1, "views that are encoded at once; latents do not depend on it", EFFECTIVE)
    precision: Literal["fp32", "bf16"] = setting("fp32", "of the VAE; bf16 is published, and less exact")


@dataclass
class MultiviewDataConfig:
    """Where clips come from: latents, or videos and what encodes them."""

    path: str = setting("", "shards: a folder, several (a,b), or an Energon metadataset YAML")
    train_split: str = setting("train", "split to train on")
    val_split: str = setting("val", "split to validate on", EFFECTIVE)
    batch_size: int = setting(1, "clips per step and data-parallel rank")
    workers: int = setting(2, "data loader workers per rank; 0 loads in the training process", EFFECTIVE)
    shuffle: int = setting(8, "shuffle buffer, clips")
    view_ids: list[int] = setting(
        [4, 5, 0, 1, 2], "cameras in the order of the views, as rows of the network's view table"
    )
    latent_shape: list[int] = setting([16, 8, 88, 160], "channels, frames, height, width of the latents of one view")
    text_shape: list[int] = setting([512, 1024], "rows of the text of one view, width of its embedding; empty for none")
    fps: float = setting(10.0, "frame rate of latents; videos have their own")
    captions: Literal["front", "every", "none"] = setting(
        "front", "views with a text: front (published), every (with the sentence of its camera) or none"
    )
    stride: int = setting(1, "take every n-th frame of videos")
    start_step: int = setting(1, "windows of videos begin at multiples of this: fewer latents in a cache")
    fit: Literal["stretch", "cover"] = setting(
        "stretch", "images to size: stretch (published), or cover, which keeps the aspect and cuts the middle"
    )
    vae: VideoVaeConfig = field(default_factory=VideoVaeConfig)
    bad_sample_budget: float = setting(0.001, "ratio of unusable samples that stops the run", EFFECTIVE)
    trust_sample_loaders: bool = setting(False, TRUST_HELP, EFFECTIVE)

    @property
    def views(self) -> int:
        """Number of views."""
        return len(self.view_ids)

    @property
    def state_t(self) -> int:
        """Latent frames of a view."""
        return self.latent_shape[1]

    @property
    def frames(self) -> int:
        """Frames of a view's video, whose latents these are."""
        return _PER_LATENT * (self.state_t - 1) + 1

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images."""
        return _STEP * self.latent_shape[2], _STEP * self.latent_shape[3]

    @property
    def clip_shape(self) -> list[int]:
        """Channels, views x frames, height, width of the latents of a clip."""
        channels, frames, height, width = self.latent_shape
        return [channels, self.views * frames, height, width]

    @property
    def clip_text_shape(self) -> list[int]:
        """Rows of all views, width; empty without text."""
        return [self.views * self.text_shape[0], self.text_shape[1]] if self.text_shape else []


@dataclass
class MultiviewTrainConfig(TrainConfig[MultiviewModelConfig, MultiviewDataConfig]):
    """Configuration of one training run of multi-view video diffusion."""

    family: str = setting("multiview", "file of recipes/ that this run belongs to")
    synthetic_clips: int = setting(0, "make that many synthetic latents first when data.path is empty (debug)")
    model: MultiviewModelConfig = field(default_factory=MultiviewModelConfig)
    data: MultiviewDataConfig = field(default_factory=MultiviewDataConfig)

    def shape(self) -> dict[str, int | bool | str]:
        """Return what differs from the named shape of the network, for ``build_dit``."""
        from cosmos_lidar.models.dit.rays import RAY_CHANNELS

        model = self.model
        return {
            "state_t": self.data.state_t,
            "compat": model.compat,
            "attention_scope": model.attention_scope,
            "ray_channels": RAY_CHANNELS if model.rays else 0,
            "control_channels": len(model.control.kinds) * self.data.latent_shape[0],
            "control_blocks": model.control.blocks,
            "sweep_channels": self.data.latent_shape[0] if model.sweeps.size else 0,
        }

    def trained_whole(self) -> list[str]:
        """Return the modules trained beside low-rank updates: those asked for, and those that start at zero."""
        model = self.model
        added = {"ray_embedder": model.rays, "control_embedder": bool(model.control.kinds)}
        added |= dict.fromkeys(("control_blocks", "control_outputs"), bool(model.control.blocks))
        added["sweep_attention"] = bool(model.sweeps.size)
        return [*self.model.lora.modules_to_save, *(name for name, there in added.items() if there)]

    def data_facts(self) -> dict[str, DataFact]:
        """Return the shapes of the latents in ``data.path``; videos are made to fit the options."""
        if not self.data.path or self.data.vae.checkpoint:
            return {}
        from cosmos_lidar.families.multiview.facts import latents_of_views

        return latents_of_views(self.data, self.model.rays, self.model.control.kinds)

    def check(self) -> None:
        """Refuse options that cannot work together, before anything is allocated.

        Raises:
            UserError: the message names the options and valid values.
        """
        super().check()
        self._check_shapes()
        self._check_objective()
        if not self.data.path and not self.synthetic_clips:
            raise UserError(
                "data.path is empty: give a folder of shards (data.path=shards data.vae.checkpoint=vae.pth)"
            )
        if self.data.vae.checkpoint and not self.data.path:
            raise UserError("data.vae: synthetic latents (synthetic_clips) are encoded already; give data.path")
        if self.model.sweeps.size and not self.data.vae.checkpoint:
            raise UserError("model.sweeps needs the videos of shards, not latents: give data.vae.checkpoint=vae.pth")
        wanting = {"model.rays=true": self.model.rays, "model.control.kinds": bool(self.model.control.kinds)}
        option = next((option for option, wanted in wanting.items() if wanted and not self.data.path), None)
        if option is not None:
            raise UserError(f"{option}: synthetic latents (synthetic_clips) have no cameras; give data.path")

    def _check_shapes(self) -> None:
        data = self.data
        refuse_below(
            {
                "model.lora.rank": (self.model.lora.rank, 0),
                "data.stride": (data.stride, 1),
                "model.control.blocks": (self.model.control.blocks, 0),
                "data.start_step": (data.start_step, 1),
                "data.vae.batch": (data.vae.batch, 1),
            }
        )
        if len(data.latent_shape) != 4 or min(data.latent_shape) < 1:
            raise UserError(f"data.latent_shape={data.latent_shape}: expected four sizes, such as [16,8,88,160]")
        if len(data.text_shape) not in (0, 2):
            raise UserError(f"data.text_shape={data.text_shape}: expected two sizes, such as [512,1024], or []")
        if not data.view_ids or min(data.view_ids) < 0 or len(set(data.view_ids)) < data.views:
            raise UserError(f"data.view_ids={data.view_ids}: expected rows of the view table, each once")
        per_frame = (data.latent_shape[2] // 2) * (data.latent_shape[3] // 2)
        ranks = self.parallel.context
        if per_frame % (ranks // math.gcd(ranks, data.state_t)):
            raise UserError(
                f"parallel.context={ranks} does not divide {data.state_t} latent frames of {per_frame} tokens each"
            )

    def _check_objective(self) -> None:
        condition, noise = self.model.condition, self.model.noise
        most = self.data.state_t - 1
        if not condition.frames or not all(0 <= count <= most for count in condition.frames):
            raise UserError(f"model.condition.frames={condition.frames}: expected numbers from 0 to {most}")
        if condition.weights and (len(condition.weights) != len(condition.frames) or min(condition.weights) < 0):
            raise UserError(f"model.condition.weights={condition.weights}: one for each of {condition.frames}, or []")
        if self.model.attention_scope != "all_views" and self.parallel.attention == "ring":
            raise UserError(
                "model.attention_scope=same_view_or_frame excludes ring: parallel.attention=ulysses or gather"
            )
        from cosmos_lidar.clips.controls import check_controls
        from cosmos_lidar.clips.sweep_images import check_size

        check_controls(self.model.control.kinds)
        if self.model.control.blocks and not self.model.control.kinds:
            raise UserError("model.control.blocks: no control videos: give model.control.kinds")
        check_size(self.model.sweeps.size, "model.sweeps.size")
        ratios = {"noise.high_ratio": noise.high_ratio, "condition.text_dropout": condition.text_dropout}
        ratios |= {"control.dropout": self.model.control.dropout, "sweeps.dropout": self.model.sweeps.dropout}
        for key, ratio in ratios.items():
            if not 0.0 <= ratio <= 1.0:
                raise UserError(f"model.{key}={ratio}: expected 0 to 1")
        if len(noise.high) != 2 or not 0 < noise.high[0] < noise.high[1]:
            raise UserError(f"model.noise.high={noise.high}: expected two levels, such as [200,100000]")
