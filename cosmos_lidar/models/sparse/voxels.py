"""Voxels of point clouds: which voxel a point lies in, and the features of voxels; batches of several clouds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.sparse.groups import occupied_cells, sorted_groups
from cosmos_lidar.models.sparse.keys import HIGHEST
from cosmos_lidar.models.sparse.tensor import SparseTensor

MOST_POINTS, MOST_VOXELS = 5, 100_000  # of SECOND


@dataclass(frozen=True)
class Voxels:
    """The voxels of one point cloud.

    Attributes:
        coords: (V, 3) int64 x, y, z.
        feats: (V, C) features.
        voxel_of_point: (N,) int64 voxel of each point; -1 of points that have none.
    """

    coords: Tensor
    feats: Tensor
    voxel_of_point: Tensor


@dataclass(frozen=True)
class VoxelBatch:
    """Voxels of several clouds.

    Attributes:
        tensor: their voxels.
        voxel_of_point: (N,) rows of ``tensor`` of the points of all clouds, cloud by cloud; -1 where there is none.
        point_counts: points of each cloud.
    """

    tensor: SparseTensor
    voxel_of_point: Tensor
    point_counts: tuple[int, ...]


def rounded_voxels(points: Tensor, feats: Tensor, voxel_size: float) -> Voxels:
    """Return voxels as the torchsparse networks were trained with: round(p / size), from the cloud's lowest corner.

    Voxels are in the order of x, y, z, and have the features of their point of the lowest index.

    Args:
        points: (N, 3) meters.
        feats: (N, C) of the points.
        voxel_size: meters.

    Raises:
        DataError: no points, coordinates that are not finite, or more voxels along an axis than keys can count.
    """
    cells = torch.round(points / voxel_size)
    _check_cells(points, cells - cells.amin(0) if len(points) else cells)
    cells = (cells - cells.amin(0)).long()
    of_point, first = occupied_cells(cells)
    return Voxels(cells[first], feats[first], of_point)


def mean_voxels(
    points: Tensor,
    feats: Tensor,
    voxel_size: Sequence[float],
    extent: Sequence[float],
    most_points: int = MOST_POINTS,
    most_voxels: int = MOST_VOXELS,
    published_pretraining: bool = False,
) -> Voxels:
    """Return voxels of a box as SECOND takes them: floor((p - low) / size), with the mean of their first points.

    Voxels are in the order of their first points.

    Args:
        points: (N, 3) meters.
        feats: (N, C) of the points.
        voxel_size: meters along x, y, z.
        extent: the box x, y, z low, then x, y, z high, meters; points on its border are outside.
        most_points: that are averaged.
        most_voxels: later voxels are left out.
        published_pretraining: features as ALSO's pre-training computed them, which are no means but run over the
            voxels, see :func:`running_features`; to reproduce its numbers.

    Raises:
        DataError: no point in the box.
    """
    size, box = (torch.as_tensor(value, dtype=points.dtype, device=points.device) for value in (voxel_size, extent))
    inside = ((points > box[:3]) & (points < box[3:])).all(1).nonzero()[:, 0]
    if not len(inside):
        raise DataError(f"none of {len(points)} points in the range", key="points", wanted=f"points within {extent} m")
    cells = ((points[inside] - box[:3]) / size).floor().long()
    cells = torch.minimum(cells, ((box[3:] - box[:3]) / size).round().long() - 1)  # just below the border, rounded up
    of_point, first = occupied_cells(cells)
    first, order = first.sort()
    of_point = order.argsort()[of_point]  # voxels numbered by their first points
    count = min(len(first), most_voxels)
    kept = (of_point < count) & (_place_in_voxel(of_point, len(first)) < most_points)
    chosen, rows = inside[kept], of_point[kept]
    numbers = torch.bincount(rows, minlength=count)
    total = feats.new_zeros(count, feats.shape[1]).index_add_(0, rows, feats[chosen])
    means = running_features(total, numbers, most_points) if published_pretraining else total / numbers[:, None]
    voxel_of_point = of_point.new_full((len(points),), -1)
    voxel_of_point[inside] = torch.where(of_point < count, of_point, -1)
    return Voxels(cells[first[:count]], means, voxel_of_point)


def running_features(sums: Tensor, counts: Tensor, most_points: int = MOST_POINTS) -> Tensor:
    """Return (V, C) the voxel features that ALSO's pre-training of SECOND was given by spconv and a division too many.

    fill_v = (fill_(v-1) + sum_v) / n_v, feature_v = (sum_v + (most_points - n_v) fill_v) / n_v, in the order of voxels.

    Args:
        sums: (V, C) of the points of each voxel.
        counts: (V,) n, from 1 to ``most_points``.
        most_points: slots of a voxel.
    """
    numbers = counts[:, None].to(sums.dtype)
    fills = sums.cpu().numpy().copy()  # the loop has no parallel form that rounds alike
    divisors = numbers.cpu().numpy()
    for row in range(len(fills)):
        fills[row] = (fills[row] + (fills[row - 1] if row else 0)) / divisors[row]
    return (sums + (most_points - numbers) * torch.from_numpy(fills).to(sums.device)) / numbers


def batch_voxels(clouds: Sequence[Voxels]) -> VoxelBatch:
    """Return the voxels of several clouds as one sparse tensor; clouds may have none, but not all of them."""
    starts = [0]
    for cloud in clouds:
        starts.append(starts[-1] + len(cloud.coords))
    coords = [torch.nn.functional.pad(cloud.coords, (1, 0), value=number) for number, cloud in enumerate(clouds)]
    rows = [
        torch.where(cloud.voxel_of_point < 0, -1, cloud.voxel_of_point + start)
        for cloud, start in zip(clouds, starts, strict=False)
    ]
    tensor = SparseTensor(torch.cat(coords), torch.cat([cloud.feats for cloud in clouds]), clouds=len(clouds))
    return VoxelBatch(tensor, torch.cat(rows), tuple(len(cloud.voxel_of_point) for cloud in clouds))


def _place_in_voxel(groups: Tensor, count: int) -> Tensor:
    """Return (N,) how many earlier indices are of the same group."""
    order, starts = sorted_groups(groups, count)
    places = torch.empty_like(groups)
    places[order] = torch.arange(len(groups), device=groups.device) - starts[groups[order]]
    return places


def _check_cells(points: Tensor, cells: Tensor) -> None:
    if points.ndim != 2 or points.shape[1] != 3 or not len(points):
        raise DataError(f"points of shape {tuple(points.shape)}", key="points", wanted="(N, 3) meters, at least one")
    if not bool(points.isfinite().all()):
        raise DataError("coordinates that are not finite", key="points", wanted="meters")
    most = cells.amax(0).tolist()
    if max(most) > HIGHEST:
        found = f"points over {max(most):.3g} voxels along an axis"
        raise DataError(
            found, key="points", wanted=f"at most {HIGHEST}; a larger voxel_size, or points without outliers"
        )
