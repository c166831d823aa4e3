"""Blocks of the diffusion transformer: attention, MLP and their adaptive-layer-norm wrapper. No biases anywhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, cast

import torch.nn.functional as F
from torch import Tensor, nn

from cosmos_lidar import kernels
from cosmos_lidar.models.dit.config import DiTConfig

EPS = 1e-6


class HeadNorm(nn.RMSNorm):
    """Per-head RMS norm (QK norm), with rotary positions fused into the same kernel where given."""

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Map (B, L, heads, D) to the same shape; rotary = (cos, sin), each (L, D) or (B, L, D)."""
        if rotary is None:
            return kernels.rms_norm(x, self.weight, cast(float, self.eps))
        return kernels.qk_norm_rotate(x, self.weight, *rotary, cast(float, self.eps))


class AttentionLayers(NamedTuple):
    """The layers of an attention: projections, and norms of each head's queries and keys."""

    to_q: nn.Module
    to_k: nn.Module
    to_v: nn.Module
    to_out: nn.Module
    q_norm: HeadNorm
    k_norm: HeadNorm


class NormedAttention(nn.Module):
    """Multi-head attention with RMS-normalized queries and keys; rotary positions when given.

    ``attend(q, k, v)`` maps (B, L, heads, D) and twice (B, M, heads, D) to (B, L, heads, D); context
    parallelism replaces it by one that exchanges tokens or heads between ranks. Subclasses have the layers, under the
    names of published checkpoints.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, channels // heads
        self.attend: Callable[..., Tensor] = kernels.attention

    def layers(self) -> AttentionLayers:
        """Return the layers, as they are now: others exchange them, for low-rank updates or FP8."""
        raise NotImplementedError

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        rotary: tuple[Tensor, Tensor] | None = None,
        within: Callable[..., Tensor] | None = None,
    ) -> Tensor:
        """Attend from x (B, L, C) to context (B, M, D), or to itself.

        Args:
            x: tokens.
            context: what they attend to; themselves when None.
            rotary: (cos, sin), each (L, D) or (B, L, D).
            within: attention among a part of the tokens, passed on to ``attend``; all of them when None.
        """
        layers = self.layers()
        context = x if context is None else context
        q, k, v = (
            self._heads(layer(source))
            for layer, source in ((layers.to_q, x), (layers.to_k, context), (layers.to_v, context))
        )
        q, k = _positioned(layers.q_norm, q, rotary), _positioned(layers.k_norm, k, rotary)
        out = self.attend(q, k, v) if within is None else self.attend(q, k, v, within)
        return layers.to_out(out.flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim))


class Attention(NormedAttention):
    """Attention with the key names of Cosmos-Predict1: to_q.0 projection, to_q.1 norm."""

    def __init__(self, query_channels: int, context_channels: int, heads: int) -> None:
        super().__init__(query_channels, heads)
        self.to_q = nn.Sequential(linear(query_channels, query_channels), HeadNorm(self.head_dim, EPS))
        self.to_k = nn.Sequential(linear(context_channels, query_channels), HeadNorm(self.head_dim, EPS))
        self.to_v = nn.Sequential(linear(context_channels, query_channels))
        self.to_out = nn.Sequential(linear(query_channels, query_channels))

    def layers(self) -> AttentionLayers:
        """Return the layers."""
        norms = cast(HeadNorm, self.to_q[1]), cast(HeadNorm, self.to_k[1])
        return AttentionLayers(self.to_q[0], self.to_k[0], self.to_v[0], self.to_out[0], *norms)


class FeedForward(nn.Module):
    """Two linear layers with the exact GELU between them."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.layer1, self.layer2 = linear(channels, hidden), linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, L, C) to (B, L, C)."""
        return self.layer2(F.gelu(self.layer1(x)))


class TimestepMLP(nn.Module):
    """Maps a sinusoid to the shift, scale and gate that all blocks share."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear_1 = linear(channels, channels)
        self.linear_2 = linear(channels, 3 * channels)

    def forward(self, sinusoids: Tensor) -> Tensor:
        """Map (..., C) to (..., 3 C)."""
        return self.linear_2(F.silu(self.linear_1(sinusoids)))


class Modulation(nn.Sequential):
    """SiLU, then two linear layers of low rank: time embedding -> ``parts`` modulation vectors."""

    def __init__(self, channels: int, rank: int, parts: int) -> None:
        super().__init__(nn.SiLU(), linear(channels, rank), linear(rank, parts * channels))


class _Holder(nn.Module):
    """Gives a sub-layer the name it has in published checkpoints (``block.attn…``, ``block.layer1…``)."""

    def __init__(self, attn: Attention) -> None:
        super().__init__()
        self.attn = attn


def modulated_norm(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Return LayerNorm(x) * (1 + scale) + shift as (B, L, C).

    Args:
        x: (B, L, C) tokens, or (B, F, n, C), frame after frame.
        shift: (B, F, C), one for each frame, or (B, 1, C) for the sample as a whole.
        scale: likewise.
    """
    whole = len(x), -1, x.shape[-1]
    frames = x.reshape(len(x) * shift.shape[1], *whole[1:])
    return kernels.modulated_norm(frames, shift.flatten(0, 1), scale.flatten(0, 1), EPS).reshape(whole)


def residual(x: Tensor, modulation: Tensor, branch: Callable[[Tensor], Tensor]) -> Tensor:
    """Return x + gate * branch(LayerNorm(x) * (1 + scale) + shift), the adaptive layer norm of a residual branch.

    Args:
        x: (B, L, C) tokens, or (B, F, n, C), frame after frame, where each frame has a modulation of its own.
        modulation: (B, F, 3 C) shift, scale and gate of the frames, or (B, 1, 3 C) of the sample as a whole.
        branch: (B, L, C) -> (B, L, C).
    """
    shift, scale, gate = modulation.chunk(3, dim=-1)
    h = branch(modulated_norm(x, shift, scale))
    return kernels.gated_add(x, gate if x.ndim == 3 else gate[:, :, None], h.view(x.shape))


def attend_per_view(attention: NormedAttention, x: Tensor, text: Tensor, views: int) -> Tensor:
    """Return cross-attention in which each view attends to its own text.

    Args:
        attention: of tokens to text.
        x: (B, L, C) tokens, view-major.
        text: (B, views * M, D) text embedding, view-major.
        views: number of views.
    """
    per_view = x.unflatten(1, (views, -1)).flatten(0, 1)
    return attention(per_view, text.unflatten(1, (views, -1)).flatten(0, 1)).reshape(x.shape)


class SubBlock(nn.Module):
    """x + gate * f(LayerNorm(x) * (1 + scale) + shift), where f is self-attention, cross-attention or the MLP."""

    def __init__(self, config: DiTConfig, kind: str) -> None:
        super().__init__()
        width = config.model_channels
        self.kind = kind
        self.block: nn.Module
        if kind == "MLP":
            self.block = FeedForward(width, int(width * config.mlp_ratio))
        else:
            context = config.crossattn_emb_channels if kind == "CA" else width
            self.block = _Holder(Attention(width, context, config.num_heads))
        self.adaLN_modulation = Modulation(width, config.adaln_lora_dim, 3)

    def forward(
        self, x: Tensor, emb: Tensor, lora: Tensor, text: Tensor, rotary: tuple[Tensor, Tensor], views: int
    ) -> Tensor:
        """Return the updated tokens.

        Args:
            x: (B, L, C) tokens, view-major.
            emb: (B, C) normalized sinusoid of the noise level.
            lora: (B, 3 C) modulation shared by all blocks.
            text: (B, views * M, D) text embedding, view-major.
            rotary: (cos, sin), each (L, head_dim), or (B, L, head_dim) where every sample has its own.
            views: number of views; each attends to its own text.
        """
        modulation = (self.adaLN_modulation(emb) + lora)[:, None]
        return residual(x, modulation, partial(self._branch, text=text, rotary=rotary, views=views))

    def _branch(self, h: Tensor, text: Tensor, rotary: tuple[Tensor, Tensor], views: int) -> Tensor:
        if self.kind == "MLP":
            return self.block(h)
        attention = cast(_Holder, self.block).attn
        return attention(h, rotary=rotary) if self.kind == "FA" else attend_per_view(attention, h, text, views)


class Block(nn.Module):
    """One transformer block: self-attention over all views, cross-attention per view, MLP."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        kinds = ("FA", "CA", "MLP") if config.cross_attention else ("FA", "MLP")
        self.blocks = nn.ModuleList(SubBlock(config, kind) for kind in kinds)

    def forward(
        self, x: Tensor, emb: Tensor, lora: Tensor, text: Tensor | None, rotary: tuple[Tensor, Tensor], views: int
    ) -> Tensor:
        """Arguments as :meth:`SubBlock.forward`; no text leaves cross-attention out, exact for zeros."""
        for block in self.blocks:
            if block.kind != "CA" or text is not None:
                x = block(x, emb, lora, text, rotary, views)
        return x


class FinalLayer(nn.Module):
    """Modulated layer norm and projection of each token to its patch."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        width = config.model_channels
        self.linear = linear(width, config.patch_spatial**2 * config.patch_temporal * config.out_channels)
        self.adaLN_modulation = Modulation(width, config.adaln_lora_dim, 2)

    def forward(self, x: Tensor, emb: Tensor, lora: Tensor) -> Tensor:
        """Map tokens (B, L, C) to patches (B, L, patch)."""
        modulation = self.adaLN_modulation(emb) + lora[:, : 2 * x.shape[-1]]
        return self.linear(modulated_norm(x, *modulation[:, None].chunk(2, dim=-1)))


def _positioned(norm: HeadNorm, x: Tensor, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
    """Norm, then rotary positions; fused unless tensor parallelism hooks into the norm."""
    if rotary is not None and kernels.is_plain(norm.weight):
        return norm(x, rotary)
    return norm(x) if rotary is None else kernels.rotate(norm(x), *rotary)


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a linear layer without bias."""
    return nn.Linear(inputs, outputs, bias=False)
