"""Blocks of the Cosmos-Predict2 diffusion transformer: the arithmetic of the others under its own key names."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from cosmos_lidar.models.dit.layers import (
    EPS,
    AttentionLayers,
    FeedForward,
    HeadNorm,
    Modulation,
    NormedAttention,
    attend_per_view,
    linear,
    modulated_norm,
    residual,
)
from cosmos_lidar.models.dit.predict2.config import Predict2Config
from cosmos_lidar.models.dit.predict2.scope import Within, attend


class Attention(NormedAttention):
    """Attention with the key names of Cosmos-Predict2."""

    def __init__(self, query_channels: int, context_channels: int, heads: int) -> None:
        super().__init__(query_channels, heads)
        self.q_proj, self.q_norm = linear(query_channels, query_channels), HeadNorm(self.head_dim, EPS)
        self.k_proj, self.k_norm = linear(context_channels, query_channels), HeadNorm(self.head_dim, EPS)
        self.v_proj = linear(context_channels, query_channels)
        self.output_proj = linear(query_channels, query_channels)
        self.attend = attend

    def layers(self) -> AttentionLayers:
        """Return the layers."""
        projections = self.q_proj, self.k_proj, self.v_proj, self.output_proj
        return AttentionLayers(*projections, self.q_norm, self.k_norm)


class Block(nn.Module):
    """One transformer block: self-attention over all views, cross-attention per view, MLP; modulated per frame."""

    def __init__(self, config: Predict2Config) -> None:
        super().__init__()
        width, rank = config.model_channels, config.adaln_lora_dim
        self.self_attn = Attention(width, width, config.num_heads)
        self.cross_attn = Attention(width, config.crossattn_emb_channels, config.num_heads)
        self.mlp = FeedForward(width, int(width * config.mlp_ratio))
        self.adaln_modulation_self_attn = Modulation(width, rank, 3)
        self.adaln_modulation_cross_attn = Modulation(width, rank, 3)
        self.adaln_modulation_mlp = Modulation(width, rank, 3)

    def forward(
        self,
        x: Tensor,
        emb: Tensor,
        lora: Tensor,
        text: Tensor | None,
        rotary: tuple[Tensor, Tensor],
        views: int,
        within: Within | None = None,
    ) -> Tensor:
        """Return the updated tokens.

        Args:
            x: (B, F, n, C) tokens of F frames, view-major; F = 1 where the sample has one noise level as a whole.
            emb: (B, F, C) normalized sinusoids of the noise levels.
            lora: (B, F, 3 C) modulation shared by all blocks.
            text: (B, views * M, D) text embedding, view-major; None leaves cross-attention out, exact for zeros.
            rotary: (cos, sin), each (L, head_dim), or (B, L, head_dim) where every sample has its own.
            views: number of views; each attends to its own text.
            within: self-attention among a part of the tokens; among all of them when None.
        """
        attend_to_all = partial(self.self_attn, rotary=rotary, within=within)
        x = residual(x, self.adaln_modulation_self_attn(emb) + lora, attend_to_all)
        if text is not None:
            attend_to_text = partial(attend_per_view, self.cross_attn, text=text, views=views)
            x = residual(x, self.adaln_modulation_cross_attn(emb) + lora, attend_to_text)
        return residual(x, self.adaln_modulation_mlp(emb) + lora, self.mlp)


class FinalLayer(nn.Module):
    """Modulated layer norm and projection of each token to its patch."""

    def __init__(self, config: Predict2Config) -> None:
        super().__init__()
        width = config.model_channels
        self.linear = linear(width, config.patch_spatial**2 * config.patch_temporal * config.out_channels)
        self.adaln_modulation = Modulation(width, config.adaln_lora_dim, 2)

    def forward(self, x: Tensor, emb: Tensor, lora: Tensor) -> Tensor:
        """Map tokens (B, F, n, C) to patches (B, F n, patch); emb (B, F, C) and lora (B, F, 3 C) as in the blocks."""
        modulation = self.adaln_modulation(emb) + lora[..., : 2 * x.shape[-1]]
        return self.linear(modulated_norm(x, *modulation.chunk(2, dim=-1)))
