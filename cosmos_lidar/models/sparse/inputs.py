"""What a sparse backbone is given of a point cloud: which features its voxels have, and how large they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cosmos_lidar.models.sparse.voxels import Voxels, mean_voxels, rounded_voxels


@dataclass(frozen=True)
class VoxelInput:
    """Voxels and their features as a backbone was trained with them.

    Attributes:
        parts: features of a voxel, in this order: ``intensities``, ``pos`` (x, y, z in meters), ``x`` (1).
        voxel_sizes: meters, one number for all axes; of SECOND along x, y, z.
        extent: of SECOND: the range, x y z low, then x y z high, meters.
        published_features: of SECOND, see :func:`~cosmos_lidar.models.sparse.voxels.mean_voxels`.
    """

    parts: tuple[str, ...]
    voxel_sizes: tuple[float, ...]
    extent: tuple[float, ...] = ()
    published_features: bool = False

    def voxels(self, points: Tensor, intensities: Tensor) -> Voxels:
        """Return the voxels of a point cloud.

        Args:
            points: (N, 3) meters.
            intensities: (N, 1).

        Raises:
            DataError: no points, or none in the range.
        """
        features = {"intensities": intensities, "pos": points, "x": torch.ones_like(intensities)}
        feats = torch.cat([features[name] for name in self.parts], dim=1)
        if not self.extent:
            return rounded_voxels(points, feats, self.voxel_sizes[0])
        return mean_voxels(points, feats, self.voxel_sizes, self.extent, published_pretraining=self.published_features)

    def inside(self, points: Tensor) -> Tensor:
        """Return (N,) whether a point is in the range; all are where there is none.

        Args:
            points: (N, 3) meters.
        """
        if not self.extent:
            return torch.ones(len(points), dtype=torch.bool, device=points.device)
        box = torch.as_tensor(self.extent, dtype=points.dtype, device=points.device)
        return ((points > box[:3]) & (points < box[3:])).all(1)
