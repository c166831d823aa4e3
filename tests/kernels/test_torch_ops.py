"""The formulas in plain torch against loops and numpy, in float64."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from cosmos_lidar.kernels import torch_ops


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_attention_one_query_after_the_other():
    q, k, v = normal(2, 3, 2, 4), normal(2, 5, 2, 4, seed=1), normal(2, 5, 2, 4, seed=2)
    found = torch_ops.attention(q, k, v)
    for b in range(2):
        for head in range(2):
            for i in range(3):
                scores = np.array([float(q[b, i, head] @ k[b, j, head]) / math.sqrt(4) for j in range(5)])
                weights = np.exp(scores) / np.exp(scores).sum()
                wanted = sum(w * v[b, j, head].numpy() for j, w in enumerate(weights))
                assert np.allclose(found[b, i, head].numpy(), wanted, atol=1e-12)


def test_preferring_cudnn_changes_no_number_where_there_is_none():
    q, k, v = (normal(1, 6, 2, 8, seed=seed).float() for seed in range(3))
    assert torch.equal(torch_ops.cudnn_attention(q, k, v), torch_ops.attention(q, k, v))


def test_norms_by_their_definitions():
    x, weight = normal(2, 3, 8) * 3 + 1, normal(8, seed=1)
    rms = (x.square().mean(-1, keepdim=True) + 1e-3).sqrt()
    assert torch.allclose(torch_ops.rms_norm(x, weight, 1e-3), x / rms * weight)
    centered = x - x.mean(-1, keepdim=True)
    normed = centered / (centered.square().mean(-1, keepdim=True) + 1e-3).sqrt()
    assert torch.allclose(torch_ops.layer_norm(x, 1e-3), normed)
    shift, scale = normal(2, 1, 8, seed=2), normal(2, 1, 8, seed=3)
    assert torch.allclose(torch_ops.modulated_norm(x, shift, scale, 1e-3), normed * (1 + scale) + shift)


def test_rotation_is_a_product_of_complex_numbers():
    """Channels i and i + D / 2 are the real and the imaginary part."""
    x, angle = normal(2, 5, 3, 8), normal(5, 4, seed=1)
    both = torch.cat([angle, angle], -1)
    turned = torch.complex(x[..., :4], x[..., 4:]) * torch.exp(1j * angle)[:, None]
    found = torch_ops.rotate(x, both.cos(), both.sin())
    assert torch.allclose(found, torch.cat([turned.real, turned.imag], -1))
    per_sample = torch_ops.rotate(x, both.cos().expand(2, 5, 8), both.sin().expand(2, 5, 8))
    assert torch.equal(per_sample, found)
