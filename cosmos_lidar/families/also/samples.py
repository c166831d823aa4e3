"""Samples of ALSO's pretext task: voxels of an augmented sweep, and queries with known occupancy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cosmos_lidar.clips.image_features import SweepFeatures, sample_maps
from cosmos_lidar.errors import DataError
from cosmos_lidar.families.also.config import AlsoDataConfig, AlsoModelConfig
from cosmos_lidar.losses.occupancy_queries import PretextSweep, Queries, pretext_sweep
from cosmos_lidar.losses.other_sweeps import other_queries
from cosmos_lidar.models.sparse.decimation import decimate
from cosmos_lidar.models.sparse.voxels import Voxels

_COARSEST = 16  # largest stride of the networks, voxels


class PretextCloud(NamedTuple):
    """One sweep, ready for the network.

    Attributes:
        voxels: of the points.
        points: (N, 3) meters.
        queries: whose occupancy is predicted.
        lowest: (3,) int64 voxel that 0 stands for, counted from the origin of the points.
        sensor_SE3_points: (4, 4) float64: takes points back to where the sensor has them.
        image_rows: (M,) which points a camera sees whose image has features; none without distillation.
        image_features: (M, D) of the images there.
    """

    voxels: Voxels
    points: Tensor
    queries: Queries
    lowest: Tensor
    sensor_SE3_points: Tensor
    image_rows: Tensor = torch.zeros(0, dtype=torch.int64)
    image_features: Tensor = torch.zeros(0, 0)


class OtherSweep(NamedTuple):
    """A sweep before or after, for queries.

    Attributes:
        points: (N, 3) meters from its sensor.
        intensities: (N,) in the units of the recording.
        sweep_SE3_other: (4, 4) pose of its sensor in the axes of the sweep.
    """

    points: Tensor
    intensities: Tensor
    sweep_SE3_other: Tensor


def pretext_cloud(
    points: Tensor,
    intensities: Tensor,
    model: AlsoModelConfig,
    data: AlsoDataConfig,
    seed: int,
    training: bool,
    others: Sequence[OtherSweep] = (),
    images: SweepFeatures | None = None,
) -> PretextCloud:
    """Return the pretext sample of a sweep.

    Args:
        points: (N, 3) meters from the sensor, which is at 0.
        intensities: (N,) in the units of the recording.
        model: how voxels are made.
        data: what is drawn.
        seed: of queries, points and augmentation.
        training: with augmentation.
        others: sweeps that give an equal share of the queries.
        images: features of camera images at the points of the whole sweep; None without.

    Raises:
        DataError: no points, none in the range of SECOND, all of them in a few voxels, or image features of another D.
    """
    generator, share = torch.Generator().manual_seed(seed), data.queries // (1 + len(others))
    sweep = pretext_sweep(
        points,
        intensities[:, None] / data.intensity_scale,
        share,
        data.points,
        data.decimation,
        data.query_distance,
        rotation=data.rotation and training,
        flip=data.flip and training,
        translation=model.contrast.translation if model.contrast.weight and training else 0.0,
        generator=generator,
    )
    parts = [sweep.queries, *(_queries_of(one, points, sweep, share, data, generator) for one in others)]
    queries = Queries(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))
    voxels = model.voxel_input.voxels(sweep.points, sweep.intensities)
    low, high = voxels.coords.aminmax(dim=0)
    if int((high - low).max()) < _COARSEST:
        found = f"{len(sweep.points)} points within {_COARSEST} voxels"
        raise DataError(found, key="points", wanted="a sweep: batch norm needs several voxels at the coarsest stride")
    lowest = torch.round(sweep.points / model.voxel_sizes[0]).amin(0).long()
    seen = _seen(images, sweep.rows, model.distillation.channels)
    return PretextCloud(voxels, sweep.points, queries, lowest, sweep.sensor_SE3_points, *seen)


def _seen(images: SweepFeatures | None, rows: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """Return (M,) which of some points of a sweep cameras see, and (M, D) the features there."""
    if images is None:
        return torch.zeros(0, dtype=torch.int64), torch.zeros(0, channels)
    if images.maps[0].shape[2] != channels:
        found = f"image features of {images.maps[0].shape[2]} channels"
        raise DataError(found, key="image_features0.npy", wanted=f"{channels}, model.distillation.channels")
    seen, features = sample_maps(images.maps, images.places[rows.numpy()])
    return torch.from_numpy(seen), torch.from_numpy(features)


def _queries_of(
    other: OtherSweep, sweep: Tensor, made: PretextSweep, count: int, data: AlsoDataConfig, generator: torch.Generator
) -> Queries:
    """Return queries of another sweep in the axes of the augmented points of one."""
    points, intensities = other.points, other.intensities[:, None] / data.intensity_scale
    if data.decimation is not None:
        stays = decimate(points, data.decimation)
        points, intensities = points[stays], intensities[stays]
    pose, distance = other.sweep_SE3_other, data.query_distance
    queries = other_queries(points, intensities, count, pose, sweep, distance, generator)
    back = torch.linalg.inv(made.sensor_SE3_points).to(queries.points.dtype)
    return queries._replace(points=queries.points @ back[:3, :3].t() + back[:3, 3])
