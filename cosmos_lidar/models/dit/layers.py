"""Blocks of the diffusion transformer: attention, MLP and their adaptive-layer-norm wrapper. No biases anywhere."""

from __future__ import annotations

from typing import cast

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


class Attention(nn.Module):
    """Multi-head attention with RMS-normalized queries and keys; rotary positions when given.

    ``attend(q, k, v)`` maps (B, L, heads, D) and twice (B, M, heads, D) to (B, L, heads, D); context
    parallelism replaces it by one that exchanges tokens or heads between ranks.
    """

    def __init__(self, query_channels: int, context_channels: int, heads: int) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, query_channels // heads
        self.attend = kernels.attention
        # The sequential containers carry the published key names: to_q.0 projection, to_q.1 norm.
        self.to_q = nn.Sequential(_linear(query_channels, query_channels), HeadNorm(self.head_dim, EPS))
        self.to_k = nn.Sequential(_linear(context_channels, query_channels), HeadNorm(self.head_dim, EPS))
        self.to_v = nn.Sequential(_linear(context_channels, query_channels))
        self.to_out = nn.Sequential(_linear(query_channels, query_channels))

    def forward(self, x: Tensor, context: Tensor | None = None, rotary: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Attend from x (B, L, C) to context (B, M, D), or to itself; rotary = (cos, sin), each (L, D) or (B, L, D)."""
        context = x if context is None else context
        q, k, v = (
            self._heads(layer[0](source))
            for layer, source in ((self.to_q, x), (self.to_k, context), (self.to_v, context))
        )
        q = _positioned(cast(HeadNorm, self.to_q[1]), q, rotary)
        k = _positioned(cast(HeadNorm, self.to_k[1]), k, rotary)
        return self.to_out(self.attend(q, k, v).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim))


class FeedForward(nn.Module):
    """Two linear layers with the exact GELU between them."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.layer1, self.layer2 = _linear(channels, hidden), _linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, L, C) to (B, L, C)."""
        return self.layer2(F.gelu(self.layer1(x)))


class Modulation(nn.Sequential):
    """SiLU, then two linear layers of low rank: time embedding -> ``parts`` modulation vectors."""

    def __init__(self, channels: int, rank: int, parts: int) -> None:
        super().__init__(nn.SiLU(), _linear(channels, rank), _linear(rank, parts * channels))


class _Holder(nn.Module):
    """Gives a sub-layer the name it has in published checkpoints (``block.attn…``, ``block.layer1…``)."""

    def __init__(self, attn: Attention) -> None:
        super().__init__()
        self.attn = attn


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
        shift, scale, gate = (self.adaLN_modulation(emb) + lora)[:, None].chunk(3, dim=-1)
        h = kernels.modulated_norm(x, shift, scale, EPS)
        if self.kind == "MLP":
            h = self.block(h)
        elif self.kind == "FA":
            h = cast(_Holder, self.block).attn(h, rotary=rotary)
        else:
            per_view = h.unflatten(1, (views, -1)).flatten(0, 1)
            h = cast(_Holder, self.block).attn(per_view, text.unflatten(1, (views, -1)).flatten(0, 1)).view_as(h)
        return kernels.gated_add(x, gate, h)


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
        self.linear = _linear(width, config.patch_spatial**2 * config.patch_temporal * config.out_channels)
        self.adaLN_modulation = Modulation(width, config.adaln_lora_dim, 2)

    def forward(self, x: Tensor, emb: Tensor, lora: Tensor) -> Tensor:
        """Map tokens (B, L, C) to patches (B, L, patch)."""
        modulation = self.adaLN_modulation(emb) + lora[:, : 2 * x.shape[-1]]
        shift, scale = modulation[:, None].chunk(2, dim=-1)
        return self.linear(kernels.modulated_norm(x, shift, scale, EPS))


def _positioned(norm: HeadNorm, x: Tensor, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
    """Norm, then rotary positions; fused unless tensor parallelism hooks into the norm."""
    if rotary is not None and kernels.is_plain(norm.weight):
        return norm(x, rotary)
    return norm(x) if rotary is None else kernels.rotate(norm(x), *rotary)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=False)
