"""Ray embeddings and ray-based rotary positions of tokens.

A ray is (x, y, z) meters of its origin and a unit vector of its direction, both in the axes of the lidar, or of its
vehicle. With rays, tokens of any number of cameras of any kind, and of range maps of any sensor, are distinguished by
calibration instead of an index.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cosmos_lidar.models.dit.embeddings import split_three

RAY = 6  # numbers of a ray: origin, direction
_OCTAVES = 5
RAY_CHANNELS = RAY + 3 * 2 * _OCTAVES


def ray_features(rays: Tensor) -> Tensor:
    """Return (..., RAY_CHANNELS): origin, direction, and sine and cosine of pi 2^k times the direction, k = 0 … 4.

    Args:
        rays: (..., 6).
    """
    frequencies = torch.pi * 2.0 ** torch.arange(_OCTAVES, dtype=rays.dtype, device=rays.device)
    angles = (rays[..., 3:, None] * frequencies).flatten(-2)
    return torch.cat([rays, angles.sin(), angles.cos()], dim=-1)


def ray_angles(rays: Tensor, head_dim: int, scale: float) -> Tensor:
    """Return rotary angles (..., head_dim): equal viewing directions have equal positions, in any view.

    Rows take the elevation and columns the azimuth of the ray, ``scale`` units to the radian, with the frequencies
    10000^(-2k / dim) of the other rotary positions; the channels of the time axis stay at 0.

    Args:
        rays: (..., 6).
        head_dim: channels of a head.
        scale: units of position in one radian.
    """
    x, y, z = rays[..., 3:].unbind(-1)
    elevation, azimuth = torch.atan2(z, torch.hypot(x, y)), torch.atan2(y, x)
    parts = []
    for position, dim in zip((torch.zeros_like(x), elevation, azimuth), split_three(head_dim), strict=True):
        k = torch.arange(0, dim, 2, dtype=torch.float32, device=rays.device) / dim
        parts.append(position[..., None] * scale * 10000.0**-k)
    return torch.cat([*parts, *parts], dim=-1)
