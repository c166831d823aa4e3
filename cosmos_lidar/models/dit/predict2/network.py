"""The Cosmos-Predict2 diffusion transformer ("minimal v1"), single-view and multi-view, with published names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.dit.embeddings import sinusoid
from cosmos_lidar.models.dit.layers import EPS, TimestepMLP, linear
from cosmos_lidar.models.dit.patches import cut_patches, join_patches, padding_channel
from cosmos_lidar.models.dit.predict2.added import start_of, starts_at_zero
from cosmos_lidar.models.dit.predict2.config import Predict2Config
from cosmos_lidar.models.dit.predict2.layers import Block, FinalLayer
from cosmos_lidar.models.dit.predict2.positions import view_angles
from cosmos_lidar.models.dit.predict2.scope import SameViewOrFrame
from cosmos_lidar.models.dit.predict2.sweeps import SweepAttention, token_places
from cosmos_lidar.models.dit.rays import RAY, ray_features
from cosmos_lidar.models.plan import ParallelPlan

_ATTENTIONS = ("self_attn", "cross_attn")


class Predict2DiT(nn.Module):
    """Denoising network on latents (B, C, views * T, H, W) that predicts the velocity of a rectified flow."""

    start_of = staticmethod(start_of)

    def __init__(self, config: Predict2Config) -> None:
        super().__init__()
        self.config = config
        width = config.model_channels
        patch = linear(config.patch_channels, width)
        self.x_embedder = nn.ModuleDict({"proj": nn.Sequential(nn.Identity(), patch)})
        self.t_embedder = nn.Sequential(nn.Identity(), TimestepMLP(width))
        self.t_embedding_norm = nn.RMSNorm(width, EPS)
        if config.crossattn_proj_in_channels:
            project = nn.Linear(config.crossattn_proj_in_channels, config.crossattn_emb_channels)
            self.crossattn_proj = nn.Sequential(project, nn.GELU())
        if config.concat_view_embedding:
            self.view_embeddings = nn.Embedding(config.n_cameras_emb, config.view_condition_dim)
        if config.ray_channels:
            self.ray_embedder = nn.Linear(config.ray_channels, width, bias=False)
        if config.control_channels:
            numbers = config.control_channels * config.patch_spatial**2 * config.patch_temporal
            self.control_embedder = nn.Linear(numbers, width, bias=False)
        if config.control_blocks:
            self.control_blocks = nn.ModuleList(Block(config) for _ in range(config.control_blocks))
            outputs = (nn.Linear(width, width, bias=False) for _ in range(config.control_blocks))
            self.control_outputs = nn.ModuleList(outputs)
        if config.sweep_channels:
            self.sweep_attention = SweepAttention(width, config.num_heads, config.sweep_channels, config.patch_spatial)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_blocks))
        self.final_layer = FinalLayer(config)
        self.sequence: Any = None  # sequence sharding (context parallelism), set by cosmos_lidar.parallel
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialize for training: truncated normal weights of variance 1 / inputs; modulation and additions at 0."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                std = module.in_features**-0.5
                nn.init.trunc_normal_(module.weight, std=std, a=-3 * std, b=3 * std)
                if name.rpartition(".")[0].rpartition(".")[2].startswith("adaln_modulation") and name.endswith(".2"):
                    nn.init.zeros_(module.weight)
                if starts_at_zero(name):
                    nn.init.zeros_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        text: Tensor | None = None,
        condition_mask: Tensor | None = None,
        fps: Tensor | Sequence[float] | float | None = None,
        padding_mask: Tensor | None = None,
        view_indices: Tensor | None = None,
        rays: Tensor | None = None,
        control: Tensor | None = None,
        sweeps: Tensor | None = None,
    ) -> Tensor:
        """Return the raw network output, shaped as x.

        Args:
            x: (B, C, V * T, H, W) scaled noisy latents, view-major along time; computed in the type of the weights.
            timesteps: (B,) or (B, 1) flow times, or (B, V * T), one for each latent frame.
            text: (B, V * M, D) text embedding per view; None skips cross-attention, which equals zero text exactly.
            condition_mask: (B, 1, V * T, H, W), 1 for conditioning latents; zeros when None.
            fps: frame rate of the clips, one or (B,); None: temporal positions count latent frames.
            padding_mask: (B, 1, rows, columns) of the images; zeros when None.
            view_indices: (B, V * T) camera of each latent frame; 0 to V - 1 when None. A number beyond the table takes
                its last row; in a network with rays, zeros.
            rays: (B, V * T, rows, columns of tokens, 6) float32, for a network with ``ray_channels``.
            control: (B, control_channels, V * T, H, W) latents of control videos; zeros for those that are left out,
                and None for zeros.
            sweeps: (B, sweep_channels, T, h, w) latents of the range images of a lidar; zeros, or None, without.

        Raises:
            UserError: sizes that do not divide into views and patches, or that are beyond the table of positions; rays
                missing, rays, control videos or sweeps of another shape, or given to a network without.
        """
        views, grid = self._grid(x)
        patch = cast(nn.Linear, cast(nn.Sequential, self.x_embedder["proj"])[1])
        x, text = x.to(patch.weight.dtype), None if text is None else text.to(patch.weight.dtype)
        patches = self._patches(x, condition_mask, padding_mask, view_indices)
        added = self._ray_inputs(views, grid, rays) | self._control_inputs(x, control)
        times = timesteps.view(len(timesteps), -1)
        sinusoids = sinusoid(times, self.config.model_channels).to(x.dtype)
        rotary = self._rotary(grid, fps, views, x.device)
        if text is not None and self.config.crossattn_proj_in_channels:
            text = self.crossattn_proj(text)
        if self.sequence is not None:
            patches = self.sequence.split(views, grid[0], patches=patches)["patches"]
            added = self.sequence.split(views, grid[0], **added)
            if times.shape[1] > 1:
                sinusoids = self.sequence.split_frames(views, sinusoids)
        lora, emb = self.t_embedder[1](sinusoids), self.t_embedding_norm(sinusoids)
        tokens = patch(patches)
        for name, values in added.items():
            tokens = tokens + self.get_submodule(name)(values.to(x.dtype))
        if sweeps is not None:
            tokens = tokens + self._of_sweeps(tokens, sweeps, views, grid)
        tokens = tokens.unflatten(1, (emb.shape[1], -1))
        within = self._within(views, grid[0])
        arguments = emb, lora, text, rotary, views, within
        beside, there = tokens, None if control is None else _is_given(control, tokens.dtype)
        for number, block in enumerate(self.blocks):
            tokens = block(tokens, *arguments)
            if there is not None and number < self.config.control_blocks:
                beside = self.control_blocks[number](beside, *arguments)
                tokens = tokens + there * self.control_outputs[number](beside)
        patches = self.final_layer(tokens, emb, lora)
        if self.sequence is not None:
            patches = self.sequence.join(views, patches, grid[0])
        whole = views * grid[0], *grid[1:]
        return join_patches(patches, whole, self.config.patch_spatial, self.config.patch_temporal)

    def parallel_plan(self) -> ParallelPlan:
        """Return the parallelization plan."""
        blocks = [f"blocks.{i}" for i in range(self.config.num_blocks)]
        blocks += [f"control_blocks.{i}" for i in range(self.config.control_blocks)]
        attentions = [f"{block}.{kind}" for block in blocks for kind in _ATTENTIONS]
        return ParallelPlan(
            blocks=tuple(blocks),
            attention=tuple(f"{block}.self_attn" for block in blocks),
            column=(
                *(f"{name}.{kind}_proj" for name in attentions for kind in "qkv"),
                *(f"{block}.mlp.layer1" for block in blocks),
            ),
            row=(*(f"{name}.output_proj" for name in attentions), *(f"{block}.mlp.layer2" for block in blocks)),
            head_norms=tuple(f"{name}.{kind}_norm" for name in attentions for kind in "qk"),
            heads=self.config.num_heads,
            context="sequence",
            casts_inputs=False,
        )

    def _of_sweeps(self, tokens: Tensor, sweeps: Tensor, views: int, grid: tuple[int, int, int]) -> Tensor:
        """Return what this rank's tokens find in the range images."""
        c = self.config
        if not c.sweep_channels:
            raise UserError("this network takes no sweeps")
        if (
            sweeps.ndim != 5
            or sweeps.shape[1] != c.sweep_channels
            or any(n % c.patch_spatial for n in sweeps.shape[3:])
        ):
            wanted = f"({c.sweep_channels}, T, h, w), h and w multiples of {c.patch_spatial}"
            raise UserError(f"sweeps of shape {tuple(sweeps.shape[1:])}: expected {wanted}")
        places = token_places(grid, tokens.device).repeat(views, 1)
        if self.sequence is not None:
            places = self.sequence.split(views, grid[0], places=places)["places"]
        return self.sweep_attention(tokens, places, sweeps)

    def _control_inputs(self, x: Tensor, control: Tensor | None) -> dict[str, Tensor]:
        """Return the patches of control videos, by the projection that adds them to the tokens."""
        c = self.config
        if control is None:
            return {}
        wanted = c.control_channels, *x.shape[2:]
        if tuple(control.shape[1:]) != wanted:
            raise UserError(f"control videos of shape {tuple(control.shape[1:])}: expected {wanted}")
        return {"control_embedder": cut_patches(control, c.patch_spatial, c.patch_temporal)}

    def _ray_inputs(self, views: int, grid: tuple[int, int, int], rays: Tensor | None) -> dict[str, Tensor]:
        """Return the features of rays (B, L, numbers), by the projection that adds them to the tokens."""
        if (rays is None) != (not self.config.ray_channels):
            missing, unexpected = "this network is ray-conditioned: rays are required", "this network takes no rays"
            raise UserError(missing if rays is None else unexpected)
        if rays is None:
            return {}
        wanted = views * grid[0], *grid[1:], RAY
        if tuple(rays.shape[1:]) != wanted:
            raise UserError(f"rays of shape {tuple(rays.shape[1:])}: expected {wanted}")
        return {"ray_embedder": ray_features(rays.flatten(1, 3))}

    def _within(self, views: int, frames: int) -> SameViewOrFrame | None:
        """Return which tokens attend to each other; None where all do."""
        if self.config.attention_scope == "all_views" or views == 1 or frames == 1:
            return None
        return SameViewOrFrame(views, frames, self.sequence)

    def _grid(self, x: Tensor) -> tuple[int, tuple[int, int, int]]:
        """Views, and (frames per view, rows, columns) of tokens."""
        c = self.config
        frames, height, width = x.shape[2:]
        divisors = (c.state_t or c.patch_temporal, c.patch_spatial, c.patch_spatial)
        if any(size % d for size, d in zip((frames, height, width), divisors, strict=True)):
            raise UserError(
                f"latents of (views x time, height, width) {(frames, height, width)} do not divide by {divisors} "
                f"(state_t={c.state_t} latent frames of a view, patches of {c.patch_spatial} x {c.patch_spatial})"
            )
        views = frames // c.state_t if c.state_t else 1
        return views, (frames // views // c.patch_temporal, height // c.patch_spatial, width // c.patch_spatial)

    def _patches(self, x: Tensor, condition: Tensor | None, padding: Tensor | None, views: Tensor | None) -> Tensor:
        """Stack the input channels (latent, condition, padding, view) and cut them into patches (B, L, numbers)."""
        c = self.config
        channels = [x]
        if c.condition_mask:
            channels.append(torch.zeros_like(x[:, :1]) if condition is None else condition.to(x))
        if c.concat_padding_mask:
            channels.append(padding_channel(padding, x))
        if c.concat_view_embedding:
            channels.append(self._view_channels(x, views))
        return cut_patches(torch.cat(channels, dim=1), c.patch_spatial, c.patch_temporal)

    def _view_channels(self, x: Tensor, views: Tensor | None) -> Tensor:
        frames = x.shape[2]
        if views is None:
            views = torch.arange(frames, device=x.device) // self.config.state_t
        if views.shape[-1] != frames:
            raise UserError(f"view_indices of shape {tuple(views.shape)}: expected one for each of {frames} frames")
        rows = self.view_embeddings(views.clamp(max=self.config.n_cameras_emb - 1)).to(x.dtype)
        if self.config.ray_channels:
            rows = rows * (views < self.config.n_cameras_emb)[..., None]
        return rows.expand(len(x), -1, -1).transpose(1, 2)[..., None, None].expand(-1, -1, -1, *x.shape[3:])

    def _rotary(self, grid: tuple[int, int, int], fps: Any, views: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """(cos, sin), each (L, head_dim), or (B, L, head_dim) of clips with different frame rates."""
        rates = _frame_rates(fps)
        if self.config.compat or len(set(rates)) == 1:
            rates = rates[:1]  # published: the first clip's, for the whole batch
        tables = [view_angles(self.config, grid, rate, device).flatten(0, 2) for rate in rates]
        angles = tables[0] if len(tables) == 1 else torch.stack(tables)
        if self.sequence is not None:
            angles = self.sequence.split(1, grid[0], positions=angles)["positions"]
        angles = torch.cat([angles] * views, dim=-2)
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos(), angles.sin()


def _is_given(control: Tensor, dtype: torch.dtype) -> Tensor:
    """Return (B, 1, 1, 1): 1 for clips with control videos, 0 for those of which all are zeros."""
    return (control != 0).flatten(1).any(1).to(dtype)[:, None, None, None]


def _frame_rates(fps: Any) -> list[float | None]:
    if fps is None:
        return [None]
    return [float(rate) for rate in fps] if isinstance(fps, (Sequence, Tensor)) and len(fps) else [float(fps)]
