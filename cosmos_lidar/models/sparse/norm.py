"""Batch norm and ReLU over the voxels of a sparse tensor."""

from __future__ import annotations

from torch import nn

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.sparse.tensor import SparseTensor


class SparseBatchNorm(nn.BatchNorm1d):
    """Batch norm of each channel over all voxels of the batch."""

    def forward(self, x: SparseTensor) -> SparseTensor:  # type: ignore[override]
        """Normalize.

        Raises:
            UserError: training on a single voxel, which has no variance.
        """
        if self.training and len(x.feats) < 2:
            raise UserError("batch norm in training: the batch has a single voxel at this stride, expected at least 2")
        return x.with_feats(super().forward(x.feats))


class SparseReLU(nn.Module):
    """ReLU; overwrites its input."""

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Return max(x, 0)."""
        return x.with_feats(x.feats.relu_())
