"""Small sweeps of random points, and batches of them."""

from __future__ import annotations

import torch
from torch import Tensor

from cosmos_lidar.families.also.config import AlsoDataConfig, AlsoModelConfig
from cosmos_lidar.families.also.data import PretextBatch, ragged_fields
from cosmos_lidar.families.also.samples import PretextCloud, pretext_cloud

MINK = AlsoModelConfig(backbone="MinkUNet18", width=2, voxel_size=0.5, latent_size=8, neighbors="nearest")
GRID = AlsoModelConfig(
    backbone="SECOND",
    inputs=["pos", "intensities"],
    voxel_size=[0.5, 0.5, 0.1],
    spatial_extent=[-8.0, -16.0, -3.0, 8.0, 16.0, 1.0],
    latent_size=8,
    radius=4.0,
    neighbors="nearest",
)
DATA = AlsoDataConfig(points=300, queries=60, query_distance=0.5)


def sweep(seed: int, count: int = 400) -> tuple[Tensor, Tensor]:
    """Return (N, 3) points within 7 m of the sensor, flat, and (N,) intensities."""
    generator = torch.Generator().manual_seed(seed)
    points = (torch.rand(count, 3, generator=generator) - 0.5) * torch.tensor([14.0, 14.0, 1.5])
    return points, torch.rand(count, generator=generator)


def cloud(seed: int, model: AlsoModelConfig = MINK, data: AlsoDataConfig = DATA) -> PretextCloud:
    """Return a pretext sample."""
    return pretext_cloud(*sweep(seed), model, data, seed, training=True)


def batch_of(clouds: list[PretextCloud]) -> PretextBatch:
    """Return a batch."""
    names = [f"clip_{number}" for number in range(len(clouds))]
    seeds = list(range(len(clouds)))
    fields = {"lowest": torch.stack([one.lowest for one in clouds]), "clip_ids": names, "seeds": seeds}
    poses = torch.stack([one.sensor_SE3_points for one in clouds])
    return PretextBatch(__key__=names, __restore_key__=(), **ragged_fields(clouds), **fields, poses=poses)
