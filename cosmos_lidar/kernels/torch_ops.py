"""Reference implementations in plain torch: they run on every device, and ``torch.compile`` fuses them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

_CUDNN_FIRST = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As :func:`cosmos_lidar.kernels.attention`; PyTorch picks the kernel."""
    out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return out.transpose(1, 2)


def cudnn_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As :func:`attention`, with cuDNN's kernel before the others."""
    with sdpa_kernel(_CUDNN_FIRST, set_priority=True):
        return attention(q, k, v)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """As :func:`cosmos_lidar.kernels.rms_norm`."""
    return F.rms_norm(x, x.shape[-1:], weight, eps)


def layer_norm(x: Tensor, eps: float) -> Tensor:
    """As :func:`cosmos_lidar.kernels.layer_norm`."""
    return F.layer_norm(x, x.shape[-1:], eps=eps)


def modulated_norm(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """As :func:`cosmos_lidar.kernels.modulated_norm`, with shift and scale (B, 1, C)."""
    return layer_norm(x, eps) * (1 + scale) + shift


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """As :func:`cosmos_lidar.kernels.rotate`."""
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat([-second, first], dim=-1)
    return x * cos.unsqueeze(-2).to(x.dtype) + turned * sin.unsqueeze(-2).to(x.dtype)
