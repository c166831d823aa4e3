"""Configurations of the Cosmos-Predict1 diffusion transformer (DiT)."""

from __future__ import annotations

from dataclasses import dataclass

from cosmos_lidar.errors import UserError


class DerivedSizes:
    """Sizes of a diffusion transformer that follow from the fields of its configuration, and what they have to be."""

    in_channels: int
    model_channels: int
    num_heads: int
    patch_spatial: int
    patch_temporal: int
    condition_mask: bool
    concat_padding_mask: bool

    @property
    def head_dim(self) -> int:
        """Channels per head."""
        return self.model_channels // self.num_heads

    @property
    def view_channels(self) -> int:
        """Input channels of the view embedding."""
        raise NotImplementedError

    @property
    def patch_channels(self) -> int:
        """Values per token: latents, condition mask, padding mask and view embedding of one patch."""
        per_pixel = self.in_channels + self.condition_mask + self.concat_padding_mask + self.view_channels
        return per_pixel * self.patch_spatial**2 * self.patch_temporal

    def check_heads(self, least: int, embedding: str) -> None:
        """Refuse widths that heads, or the three axes of rotary positions, do not divide.

        Args:
            least: smallest number of channels per head.
            embedding: name of the rotary embedding that needs as many, for the message.

        Raises:
            UserError: another width.
        """
        if self.model_channels % self.num_heads:
            raise UserError(f"model_channels {self.model_channels} is not a multiple of num_heads {self.num_heads}")
        if self.head_dim % 2 or self.head_dim < least:
            raise UserError(
                f"model_channels {self.model_channels} / num_heads {self.num_heads} is {self.head_dim} per head: "
                f"{embedding} needs an even number of at least {least}"
            )


@dataclass(frozen=True)
class DiTConfig(DerivedSizes):
    """Configuration of a diffusion transformer.

    Attributes:
        in_channels: latent channels; masks and view embedding are added to them.
        out_channels: latent channels of the prediction.
        model_channels: width.
        num_blocks: transformer blocks, each of self-attention, cross-attention and MLP.
        num_heads: attention heads.
        mlp_ratio: hidden width of the MLP over ``model_channels``.
        adaln_lora_dim: rank of the adaptive layer norm's low-rank modulation.
        crossattn_emb_channels: width of the text embedding.
        patch_spatial: latent pixels per token, along height and along width.
        patch_temporal: latent frames per token.
        max_img_h: largest latent height, for the table of positions.
        max_img_w: largest latent width, likewise.
        max_frames: largest number of latent frames, likewise.
        base_fps: frame rate at which one latent frame is one step of temporal position.
        n_views: views laid one after the other along the time axis.
        view_condition_dim: width of the learned view embedding; 0 for a single-view model without one.
        n_views_emb: number of view embeddings.
        condition_mask: one input channel marks the conditioning latents.
        concat_padding_mask: one input channel marks padding.
        extra_per_block_abs_pos_emb: a fixed sine-cosine position embedding is added before every block.
        cross_attention: blocks attend to text; False leaves those layers out, for networks that never see any.
        ray_channels: numbers that describe the ray of a token (see models.dit.rays); 0 for a network without rays.
        ray_scale: units of rotary position in one radian, where positions come from rays.
    """

    in_channels: int = 16
    out_channels: int = 16
    model_channels: int = 4096
    num_blocks: int = 28
    num_heads: int = 32
    mlp_ratio: float = 4.0
    adaln_lora_dim: int = 256
    crossattn_emb_channels: int = 1024
    patch_spatial: int = 2
    patch_temporal: int = 1
    max_img_h: int = 240
    max_img_w: int = 240
    max_frames: int = 128
    base_fps: float = 24.0
    n_views: int = 4
    view_condition_dim: int = 5
    n_views_emb: int = 4
    condition_mask: bool = True
    concat_padding_mask: bool = True
    extra_per_block_abs_pos_emb: bool = True
    cross_attention: bool = True
    ray_channels: int = 0
    ray_scale: float = 10.0

    def __post_init__(self) -> None:
        """Validate the configuration."""
        self.check_heads(6, "the 3-D rotary embedding")

    @property
    def view_channels(self) -> int:
        """Input channels of the view embedding."""
        return self.view_condition_dim


# The 7 B shape is the published one; the small ones are for laptops, tests and single GPUs.
SHAPES: dict[str, DiTConfig] = {
    "faditv2_7b": DiTConfig(),
    "faditv2_2b": DiTConfig(model_channels=2048, num_heads=16),
    "faditv2_60m": DiTConfig(model_channels=512, num_blocks=12, num_heads=8, adaln_lora_dim=64),
    "faditv2_3m": DiTConfig(
        model_channels=192, num_blocks=6, num_heads=6, adaln_lora_dim=32, crossattn_emb_channels=64
    ),
    "faditv2_1m": DiTConfig(
        model_channels=128, num_blocks=4, num_heads=4, adaln_lora_dim=16, crossattn_emb_channels=64
    ),
    "faditv2_debug": DiTConfig(
        model_channels=96, num_blocks=2, num_heads=4, adaln_lora_dim=16, crossattn_emb_channels=64
    ),
}
