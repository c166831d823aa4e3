"""Position and time embeddings of the diffusion transformer (Cosmos-Predict1; public config and forward pass)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def split_three(channels: int) -> tuple[int, int, int]:
    """Divide channels over (time, height, width): a third each, even, the remainder to time (128 -> 44, 42, 42)."""
    spatial = channels // 6 * 2
    return channels - 2 * spatial, spatial, spatial


def sinusoid(timesteps: Tensor, channels: int) -> Tensor:
    """Return (…, channels) ``[cos(t f), sin(t f)]`` with f_i = 10000^(-i / (channels / 2)); timesteps (…) float32."""
    half = channels // 2
    index = torch.arange(half, dtype=torch.float32, device=timesteps.device)
    frequencies = torch.exp(-math.log(10000.0) * index / half)
    angles = timesteps.float()[..., None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def rotary_angles(frames: int, height: int, width: int, head_dim: int, frame_step: float, seq: Tensor) -> Tensor:
    """Return (frames, height, width, head_dim) rotary angles in radians.

    Args:
        frames: token grid of one view, time.
        height: token grid, rows.
        width: token grid, columns.
        head_dim: channels per head, divided by :func:`split_three`; each axis has frequencies 10000^(-2k / dim).
        frame_step: temporal position of neighboring frames, ``base_fps / fps``.
        seq: (>= max(frames, height, width),) 0, 1, 2, … on the device and in the dtype in which angles are formed.
    """
    axes = []
    for size, dim, step in zip((frames, height, width), split_three(head_dim), (frame_step, 1.0, 1.0), strict=True):
        k = torch.arange(0, dim, 2, dtype=torch.float32, device=seq.device) / dim
        axes.append(torch.outer(seq[:size].float() * step, 10000.0**-k))
    angles = over_grid(axes, (frames, height, width))
    return torch.cat([angles, angles], dim=-1)


def absolute_positions(frames: int, height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """Return (frames, height, width, channels) float32: ``[sin, cos]`` tables of time, height, width side by side."""
    tables = []
    for size, dim in zip((frames, height, width), split_three(channels), strict=True):
        omega = 10000.0 ** -(torch.arange(dim // 2, dtype=torch.float64, device=device) / (dim / 2))
        angles = torch.outer(torch.arange(size, dtype=torch.float64, device=device), omega)
        tables.append(torch.cat([angles.sin(), angles.cos()], dim=-1).float())
    return over_grid(tables, (frames, height, width))


def over_grid(tables: Sequence[Tensor], grid: tuple[int, int, int]) -> Tensor:
    """Return (T, H, W, a + b + c): for each token, its rows of the tables (T, a), (H, b) and (W, c), side by side."""
    frames, height, width = grid
    t = tables[0][:, None, None].expand(-1, height, width, -1)
    h = tables[1][None, :, None].expand(frames, -1, width, -1)
    w = tables[2][None, None].expand(frames, height, -1, -1)
    return torch.cat([t, h, w], dim=-1)
