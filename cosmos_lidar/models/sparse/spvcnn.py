"""SPVCNN: MinkUNet with a branch of point features (Tang et al. 2020, arXiv 2007.16100), with torchsparse's names."""

from __future__ import annotations

from torch import Tensor, nn

from cosmos_lidar.models.sparse.minkunet import STEM, MinkUNet, planes_of
from cosmos_lidar.models.sparse.row_sums import averaging, interpolation
from cosmos_lidar.models.sparse.tensor import SparseTensor

_DROPOUT = 0.3


class SPVCNN(MinkUNet):
    """MinkUNet18 with two convolutions in its stem and features per point, which here are the voxels that are given.

    At strides 16 and 4 the point features are the interpolated voxel features plus a linear layer of the ones before;
    the decoder continues with their averages.

    Args:
        in_channels: features of a voxel.
        out_channels: of the linear classifier; 0: none, and the features of the last block come out, 96 as published.
        width: channels of the first layer; those of all others are in proportion.
    """

    blocks = (*MinkUNet.blocks, "point_transforms.0", "point_transforms.1", "point_transforms.2")

    def __init__(self, in_channels: int, out_channels: int, width: int = STEM) -> None:
        super().__init__(in_channels, out_channels, name="spvcnn", width=width)
        widths = (width, *planes_of(width)[3::2])
        self.point_transforms = nn.ModuleList(
            nn.Sequential(nn.Linear(i, o), nn.BatchNorm1d(o), nn.ReLU(inplace=True))
            for i, o in zip(widths, widths[1:], strict=False)
        )
        self.dropout = nn.Dropout(_DROPOUT, inplace=True)

    def forward(self, x: SparseTensor) -> Tensor:
        """Return (V, out_channels), a row per voxel of ``x`` in its order.

        Raises:
            UserError: another number of channels.
        """
        x0, x1, x2, x3, x4 = self.encode(x)
        to_16, to_4, to_1 = self.point_transforms
        points = _interpolated(x4, x0) + to_16(x0.feats)
        y = self.up2(self.up1(self._averaged(points, x0, x4), x3), x2)
        points = _interpolated(y, x0) + to_4(points)
        y = self.up4(self.up3(self._averaged(points, x0, y), x1), x0)
        return self.classifier(y.feats + to_1(points))

    def _averaged(self, points: Tensor, fine: SparseTensor, coarse: SparseTensor) -> SparseTensor:
        """Return point features averaged in the voxels of ``coarse``, with dropout."""
        mean = averaging(fine.sites, coarse.sites, coarse.stride[0])
        return coarse.with_feats(self.dropout(mean(points)))


def _interpolated(coarse: SparseTensor, fine: SparseTensor) -> Tensor:
    return interpolation(coarse.sites, fine.sites, coarse.stride[0])(coarse.feats)
