"""The Cosmos-Predict1 general diffusion transformer, single-view and multi-view, with the published parameter names."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.dit.config import DiTConfig
from cosmos_lidar.models.dit.embeddings import absolute_positions, rotary_angles, sinusoid
from cosmos_lidar.models.dit.layers import EPS, Block, FinalLayer, TimestepMLP, linear
from cosmos_lidar.models.dit.patches import cut_patches, join_patches, padding_channel
from cosmos_lidar.models.dit.rays import ray_angles, ray_features
from cosmos_lidar.models.plan import ParallelPlan


class PositionSequence(nn.Module):
    """Holds the buffer ``pos_embedder.seq`` of published checkpoints: 0, 1, 2 and so on."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.seq: Tensor
        self.register_buffer("seq", torch.arange(length, dtype=torch.float32))


class GeneralDiT(nn.Module):
    """Denoising network on latents (B, C, views * T, H, W)."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        width = config.model_channels
        self.x_embedder = nn.ModuleDict({"proj": nn.Sequential(nn.Identity(), linear(config.patch_channels, width))})
        patch = config.patch_spatial
        longest = max(config.max_img_h // patch, config.max_img_w // patch, config.max_frames // config.patch_temporal)
        self.pos_embedder = PositionSequence(longest)
        self.t_embedder = nn.Sequential(nn.Identity(), TimestepMLP(width))
        self.affline_norm = nn.RMSNorm(width, EPS)  # the published spelling
        if config.ray_channels:
            self.ray_embedder = linear(config.ray_channels, width)
        if config.view_condition_dim:
            self.view_embeddings = nn.Embedding(config.n_views_emb, config.view_condition_dim)
        self.blocks = nn.ModuleDict({f"block{i}": Block(config) for i in range(config.num_blocks)})
        self.final_layer = FinalLayer(config)
        self.sequence: Any = None  # sequence sharding (context parallelism), set by cosmos_lidar.parallel
        self.alignment: Any = None  # projects inner tokens, set by cosmos_lidar.models.dit.alignment
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialize for training: Xavier projections; every residual branch and the output start at 0."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if name.endswith("adaLN_modulation.2") or name == "final_layer.linear":
                    nn.init.zeros_(module.weight)

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        text: Tensor | None = None,
        condition_mask: Tensor | None = None,
        padding_mask: Tensor | None = None,
        view_indices: Tensor | None = None,
        fps: float | None = None,
        rays: Tensor | None = None,
        kept: Tensor | None = None,
    ) -> Tensor:
        """Return the raw network output, shaped as x; 0 where tokens are left out.

        Args:
            x: (B, C, V * T, H, W) scaled noisy latents, view-major along time.
            timesteps: (B,) noise conditioning, 0.25 ln sigma for EDM.
            text: (B, V * M, D) text embedding per view; None skips cross-attention, which equals zero text exactly.
            condition_mask: (B, 1, V * T, H, W), 1 for conditioning latents; zeros when None.
            padding_mask: (B, 1, H, W) or (B, 1, H', W'), 1 where padded; zeros when None.
            view_indices: (V,) index of each view's embedding; 0 … V-1 when None.
            fps: frame rate of videos; ignored for one frame per view.
            rays: (B, V * T, rows, columns of tokens, 6) float32, for a network with ``ray_channels``; they replace
                all other position embeddings.
            kept: (K,) indices of the tokens to compute, ascending; None for all.

        Raises:
            UserError: the sizes do not divide into views and patches; text for a network without cross-attention, or
                together with ``kept``; rays missing, or given to a network that is not ray-conditioned.
        """
        grid = self._token_grid(x)
        self._check_inputs(text, rays, kept)
        patches = self._patches(x, condition_mask, padding_mask, view_indices)
        rays = None if rays is None else rays.flatten(1, 3)
        if kept is not None:
            patches, rays = patches[:, kept], None if rays is None else rays[:, kept]
        tokens = cast(nn.Sequential, self.x_embedder["proj"])[1](patches)
        if rays is not None:
            tokens = tokens + self.ray_embedder(ray_features(rays).to(x.dtype))
        emb_sinusoid = sinusoid(timesteps, self.config.model_channels).to(x.dtype)
        lora, emb = self.t_embedder[1](emb_sinusoid), self.affline_norm(emb_sinusoid)
        rotary, positions = self._positions(grid, fps, x, kept) if rays is None else (self._ray_positions(rays), None)
        views = self.config.n_views if kept is None else 1
        if self.sequence is not None:
            shares = self.sequence.split(views, tokens=tokens, cos=rotary[0], sin=rotary[1])
            tokens, rotary = shares["tokens"], (shares["cos"], shares["sin"])
            positions = None if positions is None else self.sequence.split(views, positions=positions)["positions"]
        for name, block in self.blocks.items():
            tokens = tokens if positions is None else tokens + positions
            tokens = block(tokens, emb, lora, text, rotary, views)
            if self.alignment is not None and name == self.alignment.block:
                self.alignment.project(tokens)
        patches = self.final_layer(tokens, emb, lora)
        patches = patches if self.sequence is None else self.sequence.join(views, patches)
        if kept is not None:
            whole = patches.new_zeros(len(patches), self.config.n_views * math.prod(grid), patches.shape[-1])
            patches = whole.index_copy(1, kept, patches)
        whole_grid = grid[0] * self.config.n_views, *grid[1:]
        return join_patches(patches, whole_grid, self.config.patch_spatial, self.config.patch_temporal)

    def parallel_plan(self) -> ParallelPlan:
        """Return the parallelization plan."""
        parts = [f"blocks.{name}.blocks" for name in self.blocks]
        last = 2 if self.config.cross_attention else 1
        attentions = [f"{part}.{i}.block.attn" for part in parts for i in range(last)]
        return ParallelPlan(
            blocks=tuple(f"blocks.{name}" for name in self.blocks),
            attention=tuple(f"{part}.0.block.attn" for part in parts),
            column=(
                *(f"{name}.to_{kind}.0" for name in attentions for kind in "qkv"),
                *(f"{part}.{last}.block.layer1" for part in parts),
            ),
            row=(*(f"{name}.to_out.0" for name in attentions), *(f"{part}.{last}.block.layer2" for part in parts)),
            head_norms=tuple(f"{name}.to_{kind}.1" for name in attentions for kind in "qk"),
            heads=self.config.num_heads,
            context="sequence",
        )

    def _check_inputs(self, text: Tensor | None, rays: Tensor | None, kept: Tensor | None) -> None:
        if text is not None and not (self.config.cross_attention and kept is None):
            why = "has no cross-attention" if kept is None else "computes only a part of the tokens"
            raise UserError(f"text for a network that {why}")
        if (rays is None) != (not self.config.ray_channels):
            missing, unexpected = "this network is ray-conditioned: rays are required", "this network takes no rays"
            raise UserError(missing if rays is None else unexpected)

    def _token_grid(self, x: Tensor) -> tuple[int, int, int]:
        """(frames per view, rows, columns) of tokens."""
        c = self.config
        frames, height, width = x.shape[2:]
        divisors = (c.n_views * c.patch_temporal, c.patch_spatial, c.patch_spatial)
        if any(size % d for size, d in zip((frames, height, width), divisors, strict=True)):
            raise UserError(
                f"latents of (views x time, height, width) {(frames, height, width)} do not divide by {divisors} "
                f"({c.n_views} views, patches of {c.patch_temporal} x {c.patch_spatial} x {c.patch_spatial})"
            )
        return frames // divisors[0], height // divisors[1], width // divisors[2]

    def _patches(self, x: Tensor, condition: Tensor | None, padding: Tensor | None, views: Tensor | None) -> Tensor:
        """Stack the input channels (latent, condition, padding, view) and cut them into patches (B, L, numbers)."""
        c = self.config
        batch, _, frames, height, width = x.shape
        channels = [x]
        if c.condition_mask:
            channels.append(x.new_zeros(batch, 1, frames, height, width) if condition is None else condition.to(x))
        if c.concat_padding_mask:
            channels.append(padding_channel(padding, x))
        if c.view_condition_dim:
            views = torch.arange(c.n_views, device=x.device) if views is None else views
            embedding = self.view_embeddings(views).repeat_interleave(frames // c.n_views, dim=0).to(x.dtype)
            channels.append(embedding.T[None, :, :, None, None].expand(batch, -1, -1, height, width))
        stacked = torch.cat(channels, dim=1)
        return cut_patches(stacked, c.patch_spatial, c.patch_temporal)

    def _ray_positions(self, rays: Tensor) -> tuple[Tensor, Tensor]:
        angles = ray_angles(rays, self.config.head_dim, self.config.ray_scale)
        return angles.cos(), angles.sin()

    def _positions(self, grid: tuple[int, int, int], fps: float | None, x: Tensor, kept: Tensor | None) -> tuple:
        """Rotary (cos, sin) and the extra embedding of one view, repeated for every view; of the tokens in ``kept``."""
        c = self.config
        step = c.base_fps / fps if fps and grid[0] > 1 else 1.0
        angles = rotary_angles(*grid, c.head_dim, step, self.pos_embedder.seq).flatten(0, 2).repeat(c.n_views, 1)
        angles = angles if kept is None else angles[kept]
        rotary = (angles.cos(), angles.sin())
        if not c.extra_per_block_abs_pos_emb:
            return rotary, None
        absolute = absolute_positions(*grid, c.model_channels, x.device).flatten(0, 2).repeat(c.n_views, 1)
        return rotary, (absolute if kept is None else absolute[kept]).to(x.dtype)
