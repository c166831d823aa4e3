"""Samples of semantic segmentation: voxels of an augmented sweep, and the class of each of its points."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cosmos_lidar.errors import DataError
from cosmos_lidar.families.also.semseg.config import SemsegDataConfig, SemsegModelConfig
from cosmos_lidar.losses.occupancy_queries import draw_kept, draw_turn
from cosmos_lidar.models.sparse.decimation import decimate
from cosmos_lidar.models.sparse.voxels import Voxels


class LabeledCloud(NamedTuple):
    """One sweep, ready for the network.

    Attributes:
        voxels: of the points that the network sees.
        points: (N, 3) meters, those points, as recorded.
        classes: (N,) int64 class of each one.
    """

    voxels: Voxels
    points: Tensor
    classes: Tensor


def training_cloud(
    points: Tensor, intensities: Tensor, classes: Tensor, model: SemsegModelConfig, data: SemsegDataConfig, seed: int
) -> LabeledCloud:
    """Return the training sample of a sweep: decimated, thinned, turned and mirrored at random.

    Args:
        points: (N, 3) meters.
        intensities: (N,) in the units of the recording.
        classes: (N,) int64, 0 for points that are ignored.
        model: how voxels are made.
        data: what is drawn.
        seed: of the random choices.

    Raises:
        DataError: no points, or none with a class where the others are left out.
    """
    if data.drop_unlabeled:
        counted = classes > 0
        if not bool(counted.any()):
            found = f"none of {len(points)} points has a class"
            raise DataError(found, key="labels", wanted="labels; data.drop_unlabeled=false takes all points")
        points, intensities, classes = points[counted], intensities[counted], classes[counted]
    generator = torch.Generator().manual_seed(seed)
    kept = _kept(points, data)
    if data.points:
        kept = kept[draw_kept(kept, data.points, generator)]
    turn = draw_turn(data.rotation, data.flip, generator)
    return _cloud(points[kept], intensities[kept], classes[kept], model, data, turn)


def whole_cloud(
    points: Tensor, intensities: Tensor, classes: Tensor, model: SemsegModelConfig, data: SemsegDataConfig
) -> LabeledCloud:
    """Return a sweep as it is validated: decimated, as recorded; arguments and errors as of :func:`training_cloud`."""
    kept = _kept(points, data)
    return _cloud(points[kept], intensities[kept], classes[kept], model, data, torch.eye(3))


def _kept(points: Tensor, data: SemsegDataConfig) -> Tensor:
    if data.decimation is None or not len(points):
        return torch.arange(len(points))
    return decimate(points, data.decimation)


def _cloud(
    points: Tensor,
    intensities: Tensor,
    classes: Tensor,
    model: SemsegModelConfig,
    data: SemsegDataConfig,
    turn: Tensor,
) -> LabeledCloud:
    turned = points @ turn.to(points.dtype)
    voxels = model.voxel_input.voxels(turned, intensities[:, None] / data.intensity_scale)
    return LabeledCloud(voxels, points, classes)
