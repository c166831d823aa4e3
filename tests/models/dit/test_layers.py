"""Layers of the diffusion transformer."""

from __future__ import annotations

import torch

from cosmos_lidar import kernels
from cosmos_lidar.models.dit.layers import Attention


def test_attention_can_be_replaced_from_outside():
    """The layer hands over (B, L, heads, D), and takes the heads of a split projection as they come."""
    layer, seen = Attention(24, 16, 3), []

    def attend(q, k, v):
        seen.append((tuple(q.shape), tuple(k.shape), tuple(v.shape)))
        return kernels.attention(q, k, v)

    layer.attend = attend
    x, context = torch.randn(2, 5, 24), torch.randn(2, 7, 16)
    assert layer(x, context).shape == x.shape
    for part in (layer.to_q[0], layer.to_k[0], layer.to_v[0]):
        part.weight = torch.nn.Parameter(part.weight[:16].detach())
    layer.to_out[0].weight = torch.nn.Parameter(layer.to_out[0].weight[:, :16].detach())
    assert layer(x, context).shape == x.shape
    assert seen == [((2, 5, h, 8), (2, 7, h, 8), (2, 7, h, 8)) for h in (3, 2)]
    assert list(layer.state_dict()) == [f"to_{name}.weight" for name in ("q.0", "q.1", "k.0", "k.1", "v.0", "out.0")]
