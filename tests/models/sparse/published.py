"""Weights and scenes of the published test vectors."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cosmos_lidar.models.sparse.voxels import VoxelBatch, batch_voxels, rounded_voxels

FOLDER = Path(__file__).parents[2] / "vectors"
VECTORS = np.load(FOLDER / "sparse.npz")
GRADIENTS = np.load(FOLDER / "sparse_gradients.npz")
SALT = 20261128


def wave_weights(network: nn.Module) -> None:
    """Fill a network with sines; scales are 1 and shifts 0."""
    for number, (name, value) in enumerate(sorted(network.state_dict().items())):
        if value.ndim >= 2:
            fan = value.numel() / value.shape[0]
            if name.endswith("kernel"):
                fan = value.shape[1] * 3 if value.ndim == 3 else value.shape[0]
            elif value.ndim == 5:
                fan = value.shape[-1] * 3
            angles = 0.7 * np.arange(1, value.numel() + 1) + 1.3 * number
            value.copy_(torch.from_numpy(math.sqrt(3 / fan) * np.sin(angles)).view(value.shape))
        else:
            value.fill_(name.endswith(("weight", "running_var")))


def uniform(count: int, k: int) -> np.ndarray:
    """Return (count,) float64 in [0, 1): a hash of the index."""
    x = (np.arange(count, dtype=np.uint64) * 2654435761 + k).astype(np.uint32)
    x ^= x >> 16
    x *= np.uint32(2246822519)
    x ^= x >> 13
    x *= np.uint32(3266489917)
    x ^= x >> 16
    return x / 2.0**32


def hashed_weights(network: nn.Module) -> None:
    """Fill a network with hashes; batch norm has a state."""
    for name, value in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        u = 2 * uniform(value.numel(), zlib.crc32(name.encode()) ^ SALT) - 1
        if name.endswith("running_var"):
            u = 1 + 0.5 * u
        elif value.ndim == 1:
            u = 1 + 0.2 * u if name.endswith("weight") else 0.1 * u
        else:
            fan = value.shape[-1] if name.endswith("weight") else value.shape[-2] * {27: 12, 8: 4}.get(len(value), 1)
            if name.endswith("kernel") and value.ndim == 2:
                fan = value.shape[0]
            u = u * math.sqrt(3 / fan)
        value.copy_(torch.from_numpy(u).view(value.shape))


def scene(count: int, salt: int) -> tuple[Tensor, Tensor]:
    """Return points (count, 3) and intensities (count, 1) of a street: ground, a post, a wall."""
    u = [uniform(count, (salt + 7919 * j) % 2**32) for j in range(5)]
    kind = np.floor(4 * u[0])
    x, y = 24 * (u[1] - 0.5), 16 * (u[2] - 0.5)
    z = np.where(kind < 2, -1.7 + 0.05 * u[3], -1.7 + 3 * u[3])
    x = np.where(kind == 2, 6 + 0.1 * u[1], x)
    y = np.where(kind == 3, -5 + 0.1 * u[2], y)
    points = np.stack([x, y, z], 1).astype(np.float32)
    return torch.from_numpy(points), torch.from_numpy(u[4].astype(np.float32))[:, None]


def two_scenes(with_position: bool) -> VoxelBatch:
    """Return the batch of two clouds that gradients were taken on."""
    clouds = []
    for count, salt in ((3000, 11), (2700, 12)):
        points, intensities = scene(count, salt)
        feats = torch.cat([points, intensities], 1) if with_position else intensities
        clouds.append(rounded_voxels(points, feats, 0.1))
    return batch_voxels(clouds)
