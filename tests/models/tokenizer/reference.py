"""Deterministic weights and inputs, and the arrays that the published networks computed from them."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cosmos_lidar.models.tokenizer import VIDEO_CONFIGS, build_tokenizer

VECTORS = np.load(Path(__file__).parents[2] / "vectors" / "image_tokenizer.npz")


def hash01(count: int, seed: int) -> np.ndarray:
    """Return ``count`` values in [0, 1) that any language can compute: a 32-bit integer hash of (i, seed)."""
    x = np.arange(count, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(seed)
    x ^= x >> 16
    x *= np.uint32(2246822519)
    x ^= x >> 13
    x *= np.uint32(3266489917)
    x ^= x >> 16
    return x / 2**32


def fill(network: nn.Module) -> nn.Module:
    """Fill every parameter from the hash of its name."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            value = 2 * hash01(parameter.numel(), zlib.crc32(name.encode())) - 1
            if parameter.ndim > 1:
                value *= np.sqrt(3 / np.prod(parameter.shape[1:]))
            elif ".norm" in name:
                value = 0.1 * value + (1 if name.endswith("weight") else 0)
            else:
                value *= 0.02
            parameter.copy_(torch.from_numpy(value.astype(np.float32)).view_as(parameter))
    return network.eval()


def wave_video(frames: int, height: int, width: int) -> torch.Tensor:
    """Return (1, 3, T, H, W) float32 in about [-1, 1]."""
    c, t, h, w = np.meshgrid(*(np.arange(n) for n in (3, frames, height, width)), indexing="ij")
    value = 0.6 * np.sin(0.11 * h * (1 + 0.2 * c) + 0.07 * w + 0.5 * t + c) + 0.3 * np.cos(0.05 * h * w / 8 + 0.3 * t)
    return torch.from_numpy(value.astype(np.float32))[None]


def small_tokenizer(name: str = "CI8x8", **overrides: object) -> nn.Module:
    """Return a network of 0.2 million parameters with deterministic weights."""
    shape = {"channels": 32, "channels_mult": (1, 1, 1), "num_res_blocks": 1}
    return fill(build_tokenizer(name, **(shape | overrides)))


def small_video_tokenizer(name: str, **overrides: object) -> torch.nn.Module:
    """A narrow network with deterministic weights and the levels of the published one."""
    mult = (1,) * len(VIDEO_CONFIGS[name].channels_mult)
    return fill(build_tokenizer(name, **({"channels": 16, "channels_mult": mult, "num_res_blocks": 1} | overrides)))


def image(height: int = 16, width: int = 24) -> torch.Tensor:
    return wave_video(1, height, width)[:, :, 0]
