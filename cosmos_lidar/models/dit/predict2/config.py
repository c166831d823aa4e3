"""Configurations of the Cosmos-Predict2 diffusion transformer (DiT)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.dit.config import DerivedSizes

Scope = Literal["all_views", "same_view_or_frame"]


@dataclass(frozen=True)
class Predict2Config(DerivedSizes):
    """Configuration of a Predict2 diffusion transformer.

    Attributes:
        in_channels: latent channels; masks and view embedding are added to them.
        out_channels: latent channels of the prediction.
        model_channels: width.
        num_blocks: transformer blocks, each of self-attention, cross-attention and MLP.
        num_heads: attention heads.
        mlp_ratio: hidden width of the MLP over ``model_channels``.
        adaln_lora_dim: rank of the adaptive layer norm's low-rank modulation.
        crossattn_emb_channels: width of the text embedding in the blocks.
        crossattn_proj_in_channels: width of the text embedding that comes in, where it is projected first (100352 for
            Cosmos-Reason1); 0: it comes in with ``crossattn_emb_channels``.
        patch_spatial: latent pixels per token, along height and along width.
        patch_temporal: latent frames per token.
        max_img_h: largest latent height.
        max_img_w: largest latent width.
        max_frames: largest number of latent frames of a view.
        base_fps: frame rate at which one latent frame is one step of temporal position.
        rope_h_extrapolation_ratio: NTK scaling of the rotary frequencies of rows.
        rope_w_extrapolation_ratio: that of columns.
        rope_t_extrapolation_ratio: that of time.
        rope_enable_fps_modulation: temporal positions are multiplied by base_fps / fps. The published multi-view
            network does so, whatever its configuration file says; the single-view ones do not.
        compat: compute rotary angles in bfloat16, as the published programs do: up to 0.2 rad off at 720p.
        attention_scope: ``all_views`` (published): all tokens attend to all; ``same_view_or_frame``: to their own view
            and to the same instant of the others, another function at a third of the cost.
        condition_mask: one input channel marks the conditioning latents.
        concat_padding_mask: one input channel marks padding.
        concat_view_embedding: a learned embedding of the camera is stacked onto the input.
        view_condition_dim: its width.
        n_cameras_emb: number of cameras that have one.
        state_t: latent frames of a view; views lie one after the other along time. 0: the clip is one view.
        ray_channels: numbers that describe the ray of a token (see models.dit.rays), of which a learned projection is
            added to the tokens; it starts at zero. 0: without rays, as published. With rays, cameras beyond the view
            table have an embedding of zeros, so that any number of them is distinguished by their rays.
        control_channels: latent channels of control videos, of which a learned projection is added to the tokens; it
            starts at zero. 0: without them, as published.
        control_blocks: copies of the first blocks, which see the control videos; behind each of these blocks a
            projection of what its copy gives is added, which starts at zero. 0: the projection of the videos alone.
        sweep_channels: latent channels of the range images of a lidar, which the tokens attend to once, before the
            blocks; what that adds starts at zero. 0: without, as published.
    """

    in_channels: int = 16
    out_channels: int = 16
    model_channels: int = 2048
    num_blocks: int = 28
    num_heads: int = 16
    mlp_ratio: float = 4.0
    adaln_lora_dim: int = 256
    crossattn_emb_channels: int = 1024
    crossattn_proj_in_channels: int = 0
    patch_spatial: int = 2
    patch_temporal: int = 1
    max_img_h: int = 240
    max_img_w: int = 240
    max_frames: int = 128
    base_fps: float = 24.0
    rope_h_extrapolation_ratio: float = 3.0
    rope_w_extrapolation_ratio: float = 3.0
    rope_t_extrapolation_ratio: float = 1.0
    rope_enable_fps_modulation: bool = False
    compat: bool = False
    attention_scope: Scope = "all_views"
    condition_mask: bool = True
    concat_padding_mask: bool = True
    concat_view_embedding: bool = False
    view_condition_dim: int = 7
    n_cameras_emb: int = 7
    state_t: int = 0
    ray_channels: int = 0
    control_channels: int = 0
    control_blocks: int = 0
    sweep_channels: int = 0

    def __post_init__(self) -> None:
        """Validate the configuration."""
        scopes = get_args(Scope)
        if self.attention_scope not in scopes:
            raise UserError(f"attention_scope {self.attention_scope!r}; valid: {', '.join(scopes)}")
        if not 0 <= self.control_blocks <= (self.num_blocks if self.control_channels else 0):
            most = f"0 to {self.num_blocks}" if self.control_channels else "0 without control videos"
            raise UserError(f"{self.control_blocks} control blocks: expected {most}")
        self.check_heads(12, "the scaled 3-D rotary embedding")

    @property
    def view_channels(self) -> int:
        """Input channels of the view embedding."""
        return self.view_condition_dim if self.concat_view_embedding else 0

    @property
    def table(self) -> tuple[int, int, int]:
        """Largest (frames, rows, columns) of tokens of a view."""
        height, width = self.max_img_h // self.patch_spatial, self.max_img_w // self.patch_spatial
        return self.max_frames // self.patch_temporal, height, width


_14B: dict[str, Any] = {"model_channels": 5120, "num_blocks": 36, "num_heads": 40}
_IMAGE: dict[str, Any] = {"condition_mask": False, "rope_h_extrapolation_ratio": 4.0, "rope_w_extrapolation_ratio": 4.0}
_VIEWS: dict[str, Any] = {
    "concat_view_embedding": True, "rope_enable_fps_modulation": True, "rope_t_extrapolation_ratio": 8 / 24,
    "state_t": 8,
}  # fmt: skip

# The published shapes; those of 0.4 M to 1.2 M parameters are for tests and small trainings.
SHAPES: dict[str, Predict2Config] = {
    "predict2_2b_multiview": Predict2Config(**_VIEWS),
    "predict2_2b_video2world": Predict2Config(),
    "predict2_14b_video2world": Predict2Config(
        **_14B,
        rope_h_extrapolation_ratio=2.0,
        rope_w_extrapolation_ratio=2.0,
        rope_t_extrapolation_ratio=20 / 24,
    ),
    "predict2_0.6b_text2image": Predict2Config(model_channels=1280, num_blocks=20, num_heads=20, **_IMAGE),
    "predict2_2b_text2image": Predict2Config(**_IMAGE),
    "predict2_14b_text2image": Predict2Config(**_14B, **_IMAGE),
    "predict2_debug_multiview": Predict2Config(
        **_VIEWS | {"state_t": 2}, model_channels=96, num_blocks=2, num_heads=4, adaln_lora_dim=16,
        crossattn_emb_channels=64,
    ),
    "predict2_small_multiview": Predict2Config(
        **_VIEWS, in_channels=12, out_channels=12, model_channels=96, num_blocks=3, num_heads=4, adaln_lora_dim=16,
        crossattn_emb_channels=64,
    ),
    "predict2_1m_multiview": Predict2Config(
        **_VIEWS | {"state_t": 3}, model_channels=144, num_blocks=3, num_heads=4, adaln_lora_dim=16,
        crossattn_emb_channels=64,
    ),
}  # fmt: skip
