"""Configuration of camera-to-lidar diffusion training. Defaults of model and data are the published settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.dit.config import DitDataConfig, DitModelConfig, DitTrainConfig
from cosmos_lidar.families.lidargen.canvas import CanvasLayout
from cosmos_lidar.training.config import EFFECTIVE, refuse_below, setting
from cosmos_lidar.training.data_facts import DataFact

# Keys of the published recipe -> ours, beside those that all families understand (training/option_names.py).
PUBLISHED_KEYS = {
    "data.shuffle_buffer": "data.shuffle",
    "model.latent_shape": "data.latent_shape",
    "model.lidar_latent_shape": "model.canvas.lidar",
    "model.rgb_latent_shape": "model.canvas.image",
}


@dataclass
class CanvasConfig:
    """Canvas of latents: one slot for the range map, one for each camera image."""

    views: int = setting(3, "cameras")
    lidar: list[int] = setting([64, 224], "rows and columns of the latent range map")
    image: list[int] = setting([88, 160], "rows and columns of the latents of an image")
    dense: bool = setting(False, "leave unfilled parts of the canvas out of the sequence, and of the loss")

    def layout(self) -> CanvasLayout:
        """Return the layout.

        Raises:
            UserError: not two sizes each, or no camera.
        """
        if len(self.lidar) != 2 or len(self.image) != 2:
            raise UserError(f"model.canvas: lidar={self.lidar}, image={self.image}: two sizes each, such as [64,224]")
        return CanvasLayout((self.lidar[0], self.lidar[1]), (self.image[0], self.image[1]), self.views)


@dataclass
class AlignmentConfig:
    """Alignment of inner tokens with a lidar backbone (REPA, R3DPA): it needs `encode-views --alignment`."""

    weight: float = setting(0.0, "weight in the loss of 1 - cosine; 0: off")
    block: int = setting(8, "tokens of the range map are aligned after so many blocks (REPA: 8 of 28)")
    hidden: int = setting(2048, "width of the three-layer MLP that projects them")
    channels: int = setting(0, "features of the backbone; those of the latents in data.path")


@dataclass
class LidarGenModelConfig(DitModelConfig):
    """The network, its objective and the canvas."""

    name: str = setting("faditv2_7b", "shape of the network: a name of build_dit")
    n_views: int = setting(4, "slots of the canvas: the range map and each camera")
    objective: Literal["edm", "flow"] = setting(
        "edm", "training target: edm (published), or flow (rectified-flow velocity)"
    )
    rays: bool = setting(False, "ray-conditioned: tokens get their rays, from calibrations, instead of view and place")
    text: bool = setting(True, "keep the published cross-attention layers; text is never given")
    canvas: CanvasConfig = field(default_factory=CanvasConfig)
    alignment: AlignmentConfig = field(default_factory=AlignmentConfig)

    def shape(self) -> dict[str, int | float | bool]:
        """Return what differs from the named shape, for ``build_dit``."""
        shape: dict[str, int | float | bool] = {"n_views": self.n_views, "cross_attention": self.text}
        if self.rays:
            from cosmos_lidar.models.dit.rays import RAY_CHANNELS

            shape |= {"ray_channels": RAY_CHANNELS, "view_condition_dim": 0, "extra_per_block_abs_pos_emb": False}
        return shape


@dataclass
class TokenizersConfig:
    """What encodes frames during training; nothing where ``data.path`` holds latents."""

    lidar: str = setting("", "tokenizer of range maps: makes data.path a folder of `prepare --views`")
    image: str = setting("", "tokenizer of images")
    lidar_mean_std: str = setting("", "mean_std.pt of the latents of range maps")
    image_mean_std: str = setting("", "mean_std.pt of the latents of images")
    cache: str = setting("", "folder of the latent cache, so that each frame is encoded once; empty: none", EFFECTIVE)


@dataclass
class LidarGenDataConfig(DitDataConfig):
    """Where encoded frames come from, or frames and what encodes them."""

    latent_shape: list[int] = setting([16, 4, 88, 224], "channels, slots, height, width of the canvas")
    tokenizers: TokenizersConfig = field(default_factory=TokenizersConfig)


@dataclass
class LidarGenTrainConfig(DitTrainConfig):
    """Configuration of one training run of camera-to-lidar diffusion."""

    family: str = setting("lidargen", "file of recipes/ that this run belongs to")
    model: LidarGenModelConfig = field(default_factory=LidarGenModelConfig)
    data: LidarGenDataConfig = field(default_factory=LidarGenDataConfig)

    def data_facts(self) -> dict[str, DataFact]:
        """Return the canvas of the latents, or frames, in ``data.path``."""
        if not self.data.path:
            return {}
        from cosmos_lidar.families.lidargen.facts import canvas_of_frames, canvas_of_latents

        tokenizers = self.data.tokenizers
        if tokenizers.lidar and tokenizers.image:
            return canvas_of_frames(self)
        return canvas_of_latents(self)

    def check(self) -> None:
        """Refuse options that cannot work together, before anything is allocated.

        Raises:
            UserError: the message names the options and valid values.
        """
        super().check()
        self._check_canvas()
        synthetic = bool(self.synthetic_clips) and not self.data.path
        if self.model.rays and synthetic:
            raise UserError("model.rays=True: synthetic latents (synthetic_clips) have no rays; give data.path")
        tokenizers = self.data.tokenizers
        if bool(tokenizers.lidar) != bool(tokenizers.image):
            raise UserError("data.tokenizers.lidar, data.tokenizers.image: give both, for frames, or none, for latents")
        if tokenizers.lidar and synthetic:
            raise UserError("data.tokenizers: synthetic latents (synthetic_clips) are encoded already; give data.path")
        self._check_alignment(synthetic)
        if self.data.text_shape:
            raise UserError(f"data.text_shape={self.data.text_shape}: camera-to-lidar diffusion takes no text, []")

    def _check_alignment(self, synthetic: bool) -> None:
        alignment, parallel = self.model.alignment, self.parallel
        refuse_below({"model.alignment.weight": (alignment.weight, 0)})
        if not alignment.weight:
            return
        refuse_below({"model.alignment.block": (alignment.block, 1), "model.alignment.hidden": (alignment.hidden, 1)})
        given = f"model.alignment.weight={alignment.weight}"
        if synthetic or self.data.tokenizers.lidar:
            problem = "features of a backbone are read with latents: data.path of `encode-views --alignment`"
            raise UserError(f"{given}: {problem}, without data.tokenizers")
        if parallel.context > 1 or parallel.compile or self.model.lora.rank:
            raise UserError(f"{given}: needs parallel.context=1 parallel.compile=false model.lora.rank=0")

    def _check_canvas(self) -> None:
        layout = self.model.canvas.layout()
        slots = 1 + layout.views
        if self.model.n_views != slots:
            problem = f"{layout.views} cameras and the range map make {slots}"
            raise UserError(f"model.n_views={self.model.n_views}: {problem}")
        wanted = [self.data.latent_shape[0], slots, *layout.size]
        if self.data.latent_shape != wanted:
            raise UserError(f"data.latent_shape={self.data.latent_shape}: the canvas of model.canvas is {wanted}")


LidarGenRun = LidarGenTrainConfig  # the former name
