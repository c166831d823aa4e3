"""Samples of ALSO's pretext task: voxels of an augmented sweep, and queries with known occupancy."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cosmos_lidar.errors import DataError
from cosmos_lidar.families.also.config import AlsoDataConfig, AlsoModelConfig
from cosmos_lidar.losses.occupancy_queries import Queries, pretext_sweep
from cosmos_lidar.models.sparse.voxels import Voxels, mean_voxels, rounded_voxels

_COARSEST = 16  # largest stride of the networks, voxels


class PretextCloud(NamedTuple):
    """One sweep, ready for the network.

    Attributes:
        voxels: of the points.
        points: (N, 3) meters.
        queries: whose occupancy is predicted.
        lowest: (3,) int64 voxel that 0 stands for, counted from the origin of the points.
        sensor_SE3_points: (4, 4) float64: takes points back to where the sensor has them.
    """

    voxels: Voxels
    points: Tensor
    queries: Queries
    lowest: Tensor
    sensor_SE3_points: Tensor


def pretext_cloud(
    points: Tensor, intensities: Tensor, model: AlsoModelConfig, data: AlsoDataConfig, seed: int, training: bool
) -> PretextCloud:
    """Return the pretext sample of a sweep.

    Args:
        points: (N, 3) meters from the sensor, which is at 0.
        intensities: (N,) in the units of the recording.
        model: how voxels are made.
        data: what is drawn.
        seed: of queries, points and augmentation.
        training: with augmentation.

    Raises:
        DataError: no points, none in the range of SECOND, or all of them in a few voxels.
    """
    sweep = pretext_sweep(
        points,
        intensities[:, None] / data.intensity_scale,
        data.queries,
        data.points,
        data.decimation,
        data.query_distance,
        rotation=data.rotation and training,
        flip=data.flip and training,
        translation=model.contrast.translation if model.contrast.weight and training else 0.0,
        generator=torch.Generator().manual_seed(seed),
    )
    voxels = make_voxels(sweep.points, sweep.intensities, model)
    low, high = voxels.coords.aminmax(dim=0)
    if int((high - low).max()) < _COARSEST:
        found = f"{len(sweep.points)} points within {_COARSEST} voxels"
        raise DataError(found, key="points", wanted="a sweep: batch norm needs several voxels at the coarsest stride")
    lowest = torch.round(sweep.points / model.voxel_sizes[0]).amin(0).long()
    return PretextCloud(voxels, sweep.points, sweep.queries, lowest, sweep.sensor_SE3_points)


def make_voxels(points: Tensor, intensities: Tensor, model: AlsoModelConfig) -> Voxels:
    """Return voxels as a backbone takes them.

    Args:
        points: (N, 3) meters.
        intensities: (N, 1).
        model: inputs, sizes and range.

    Raises:
        DataError: no points, or none in the range.
    """
    parts = {"intensities": intensities, "pos": points, "x": torch.ones_like(intensities)}
    feats = torch.cat([parts[name] for name in model.inputs], dim=1)
    if not model.on_grid:
        return rounded_voxels(points, feats, model.voxel_sizes[0])
    extent, features = model.spatial_extent, model.published_features
    return mean_voxels(points, feats, model.voxel_sizes, extent, published_pretraining=features)
