"""Attention from the tokens of all cameras to those of a lidar: sweeps as a condition of the images."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cosmos_lidar import kernels
from cosmos_lidar.models.dit.layers import EPS
from cosmos_lidar.models.dit.patches import cut_patches

_FREQUENCIES = (1.0, 2.0, 4.0, 8.0)  # periods along a side
PLACE = 3 * 2 * len(_FREQUENCIES)  # numbers that describe the place of a token
_FRAMES = 32  # latent frames that one period of time covers


class SweepAttention(nn.Module):
    """Adds to each token what it finds in the range images of all instants; starts at zero, and is zero for zeros.

    Args:
        width: channels of the tokens.
        heads: of the attention.
        channels: of the latents of range images.
        patch: latent pixels of a token, along height and along width.
    """

    def __init__(self, width: int, heads: int, channels: int, patch: int) -> None:
        super().__init__()
        self.heads, self.patch = heads, patch
        self.to_query, self.place_query = nn.Linear(width, width, bias=False), nn.Linear(PLACE, width, bias=False)
        self.to_key, self.place_key = (nn.Linear(n, width, bias=False) for n in (channels * patch**2, PLACE))
        self.to_value = nn.Linear(channels * patch**2, width, bias=False)  # of the content alone: zeros stay zeros
        self.to_out = nn.Linear(width, width, bias=False)

    def forward(self, tokens: Tensor, places: Tensor, sweeps: Tensor) -> Tensor:
        """Return (B, L, C) to be added.

        Args:
            tokens: (B, L, C), some or all of the cameras'.
            places: (L, PLACE) of them.
            sweeps: (B, channels, T, h, w) latents of range images, h and w multiples of ``patch``.
        """
        patches = cut_patches(sweeps.to(tokens.dtype), self.patch, 1)
        frames, height, width = sweeps.shape[2:]
        there = token_places((frames, height // self.patch, width // self.patch), tokens.device).to(tokens.dtype)
        normed = nn.functional.rms_norm(tokens, tokens.shape[-1:], eps=EPS)
        query = self.to_query(normed) + self.place_query(places.to(tokens.dtype))
        key = self.to_key(patches) + self.place_key(there)
        q, k, v = (self._heads(x) for x in (query, key, self.to_value(patches)))
        q, k = (nn.functional.rms_norm(x, x.shape[-1:], eps=EPS) for x in (q, k))
        return self.to_out(kernels.attention(q, k, v).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1))


def token_places(grid: tuple[int, int, int], device: torch.device) -> Tensor:
    """Return (T rows columns, PLACE) float32: sines and cosines of time and of the place in the image."""
    _, rows, columns = grid
    sides = [torch.arange(n, device=device, dtype=torch.float32) for n in grid]
    t, v, u = torch.meshgrid(sides[0] / _FRAMES, (sides[1] + 0.5) / rows, (sides[2] + 0.5) / columns, indexing="ij")
    frequencies = torch.tensor(_FREQUENCIES, device=device)
    angles = 2 * math.pi * torch.stack([t, v, u], -1).flatten(0, 2)[..., None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], -1).flatten(1)
