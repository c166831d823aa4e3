"""Configuration of diffusion transformer training on latents."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from cosmos_lidar.errors import UserError
from cosmos_lidar.training.config import EFFECTIVE, START, TRUST_HELP, EmaConfig, TrainConfig, refuse_below, setting
from cosmos_lidar.training.data_facts import DataFact


@dataclass
class DitNoiseConfig:
    """Noise levels of training: ln sigma ~ N(mean, std^2), sigma * scale (EDM, Karras et al. 2022)."""

    ON_RESUME: ClassVar[str] = EFFECTIVE
    mean: float = setting(0.0, "mean of ln sigma")
    std: float = setting(1.0, "standard deviation of ln sigma")
    sigma_data: float = setting(0.5, "standard deviation of the latents")


@dataclass
class LoraConfig:
    """Low-rank updates that are trained in place of the network's own weights (LoRA)."""

    rank: int = setting(0, "rank of the updates; 0 trains the network itself")
    alpha: float = setting(16.0, "scale of the updates, times rank")
    targets: list[str] = setting(
        ["to_q.0", "to_k.0", "to_v.0", "to_out.0", "layer1", "layer2"], "ends of the names of the layers that get one"
    )
    modules_to_save: list[str] = setting([], "ends of the names of modules trained whole, such as view_embeddings")


@dataclass
class DitModelConfig:
    """The network and its training objective."""

    name: str = setting("faditv2_2b", "shape of the network: a name of build_dit")
    checkpoint: str = setting("", "weights to start from: .pt or .safetensors with published names", START)
    n_views: int = setting(4, "views laid one after the other along time")
    noise: DitNoiseConfig = field(default_factory=DitNoiseConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    ema: EmaConfig = field(default_factory=lambda: EmaConfig(kind="power"))

    def shape(self) -> dict[str, int | float | bool]:
        """Return what differs from the named shape, for ``build_dit``."""
        return {"n_views": self.n_views}


@dataclass
class DitDataConfig:
    """Where encoded clips come from."""

    path: str = setting("", "shards of latents: a folder, several (a,b), or an Energon metadataset YAML")
    train_split: str = setting("train", "split to train on")
    val_split: str = setting("val", "split to validate on", EFFECTIVE)
    batch_size: int = setting(1, "clips per step and data-parallel rank")
    workers: int = setting(2, "data loader workers per rank; 0 loads in the training process", EFFECTIVE)
    shuffle: int = setting(64, "shuffle buffer, clips")
    latent_shape: list[int] = setting([16, 4, 64, 112], "channels, views x time, height, width of each latent")
    text_shape: list[int] = setting([], "tokens (of all views), width of the text embedding; empty for none")
    bad_sample_budget: float = setting(0.001, "ratio of unusable samples that stops the run", EFFECTIVE)
    trust_sample_loaders: bool = setting(False, TRUST_HELP, EFFECTIVE)


@dataclass
class DitTrainConfig(TrainConfig[DitModelConfig, DitDataConfig]):
    """Configuration of one training run of a diffusion transformer."""

    family: str = setting("dit", "file of recipes/ that this run belongs to")
    synthetic_clips: int = setting(0, "make that many synthetic latents first when data.path is empty (debug)")
    model: DitModelConfig = field(default_factory=DitModelConfig)
    data: DitDataConfig = field(default_factory=DitDataConfig)

    def data_facts(self) -> dict[str, DataFact]:
        """Return the shapes of the latents and text embeddings in ``data.path``."""
        if not self.data.path:
            return {}
        from cosmos_lidar.families.dit.facts import latents_facts, shape_facts

        found, where = latents_facts(self.data)
        facts = shape_facts(found, where)
        if "canvas" in found.document:
            facts["model.n_views"] = DataFact(1 + found.document["canvas"]["views"], where)
        return facts

    def check(self) -> None:
        """Refuse options that cannot work together, before anything is allocated.

        Raises:
            UserError: the message names the options and valid values.
        """
        super().check()
        data = self.data
        refuse_below({"model.lora.rank": (self.model.lora.rank, 0)})
        if len(data.latent_shape) != 4:
            raise UserError(f"data.latent_shape={data.latent_shape}: expected four sizes, such as [16,4,64,112]")
        if len(data.text_shape) not in (0, 2):
            raise UserError(f"data.text_shape={data.text_shape}: expected two sizes, such as [512,1024], or []")
        if not data.path and not self.synthetic_clips:
            raise UserError("data.path is empty: give a folder of shards of latents (data.path=latents)")


DitRun = DitTrainConfig  # the former name
