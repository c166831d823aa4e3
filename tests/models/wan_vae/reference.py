"""Deterministic weights and videos, and the arrays that the published network computed from them."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cosmos_lidar.models.wan_vae import WanVAE, build_vae
from tests.models.tokenizer.reference import hash01

_NPZ = np.load(Path(__file__).parents[2] / "vectors" / "wan_vae.npz")
VECTORS = {name: torch.from_numpy(_NPZ[name]) for name in _NPZ}
_SALT = 20261128
HEIGHT, WIDTH = 32, 48


def signed(count: int, seed: int) -> np.ndarray:
    """Return ``count`` values in [-1, 1)."""
    return 2 * hash01(count, seed) - 1


def small_vae(dtype: torch.dtype = torch.float32, **changes: object) -> WanVAE:
    """Return a network of width 8 with the weights of the vectors."""
    vae = build_vae("wan2_1", **{"dim": 8, **changes})
    with torch.no_grad():
        for name, parameter in vae.named_parameters():
            value = signed(parameter.numel(), zlib.crc32(name.encode()) ^ _SALT)
            if name.endswith("gamma"):
                value = 1 + 0.2 * value
            elif name.endswith("bias"):
                value *= 0.05
            else:
                value *= np.sqrt(3 / np.prod(parameter.shape[1:]))
            parameter.copy_(torch.from_numpy(value.astype(np.float32)).view_as(parameter))
    return vae.to(dtype).eval().requires_grad_(False)


def video(frames: int) -> Tensor:
    """Return the input (1, 3, T, 32, 48) of the vectors of that many frames."""
    x = torch.from_numpy(signed(3 * frames * HEIGHT * WIDTH, 3000 + frames)).view(3, frames, HEIGHT, WIDTH)
    smooth = F.avg_pool2d(x, 5, stride=1, padding=2, count_include_pad=True)
    return (3 * smooth).clamp(-1, 1).float()[None]


def difference(a: Tensor, b: Tensor) -> float:
    """Return the largest absolute difference of two tensors of one shape."""
    assert a.shape == b.shape
    return float((a.detach().double() - b.detach().double()).abs().max())
