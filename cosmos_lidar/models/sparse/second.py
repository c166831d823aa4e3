"""SECOND: sparse 3-D encoder and bird's-eye-view network (Yan et al. 2018), also of PV-RCNN; OpenPCDet's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.sparse.backbone import Backbone
from cosmos_lidar.models.sparse.bev_network import OUT_CHANNELS, BevNetwork
from cosmos_lidar.models.sparse.conv import SparseConv3d
from cosmos_lidar.models.sparse.kernel_map import Triple
from cosmos_lidar.models.sparse.norm import SparseBatchNorm, SparseReLU
from cosmos_lidar.models.sparse.tensor import SparseTensor

KITTI_GRID: Triple = (1408, 1600, 40)  # x, y, z: range (0, -40, -3, 70.4, 40, 1) m in voxels of (0.05, 0.05, 0.1) m
BEV_STRIDE = 8


class Second(Backbone):
    """Voxels to a bird's-eye-view map of stride 8; each voxel gets the feature of the cell that it lies in.

    Args:
        in_channels: features of a voxel.
        out_channels: of the last 1x1 convolution; 0: none, and 512 features come out.
        grid: voxels along x, y, z of the range; x and y multiples of 16, 40 along z.

    Raises:
        UserError: a grid that the network does not fit.
    """

    blocks = ("model.backbone_3d", "model.backbone_2d")

    def __init__(self, in_channels: int, out_channels: int, grid: Triple = KITTI_GRID) -> None:
        super().__init__()
        if grid[0] % (2 * BEV_STRIDE) or grid[1] % (2 * BEV_STRIDE) or grid[2] != KITTI_GRID[2]:
            raise UserError(f"grid {grid}: expected multiples of 16 along x and y, and 40 voxels along z")
        self.name, self.in_channels, self.out_channels = "second", in_channels, out_channels or OUT_CHANNELS
        self.shape: Triple = (grid[0], grid[1], grid[2] + 1)
        self.model = _Parts(in_channels)
        self.classifier = nn.Conv2d(OUT_CHANNELS, out_channels, 1) if out_channels else nn.Identity()

    def forward(self, x: SparseTensor) -> Tensor:
        """Return (V, out_channels): for each voxel of ``x`` the feature of its cell of the map.

        Raises:
            UserError: another number of channels.
            DataError: voxels outside the grid.
        """
        batch, column, row, _ = x.coords.unbind(1)
        return self.bev(x)[batch, :, row // BEV_STRIDE, column // BEV_STRIDE]

    def bev(self, x: SparseTensor) -> Tensor:
        """Return the bird's-eye-view map, (B, out_channels, y cells, x cells).

        Raises:
            UserError: another number of channels.
            DataError: voxels outside the grid.
        """
        inside = SparseTensor(x.coords, x.feats, clouds=x.clouds, shape=self.shape)
        encoded = self.model.backbone_3d(inside)[-1]
        return self.classifier(self.model.backbone_2d(encoded.dense().flatten(1, 2)))


class _Parts(nn.Module):
    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.backbone_3d = Encoder(in_channels)
        self.backbone_2d = BevNetwork(2 * Encoder.out_channels)


class Encoder(nn.Module):
    """The sparse 3-D encoder of SECOND and PV-RCNN (``VoxelBackBone8x``).

    Args:
        in_channels: features of a voxel.
    """

    out_channels = 128

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv_input = _layer(in_channels, 16)
        self.conv1 = nn.Sequential(_layer(16, 16))
        self.conv2 = nn.Sequential(_layer(16, 32, stride=2, padding=1), _layer(32, 32), _layer(32, 32))
        self.conv3 = nn.Sequential(_layer(32, 64, stride=2, padding=1), _layer(64, 64), _layer(64, 64))
        self.conv4 = nn.Sequential(_layer(64, 64, stride=2, padding=(1, 1, 0)), _layer(64, 64), _layer(64, 64))
        self.conv_out = _layer(64, self.out_channels, kernel_size=(1, 1, 3), stride=(1, 1, 2))

    def forward(self, x: SparseTensor) -> list[SparseTensor]:
        """Return the features after conv1, conv2, conv3, conv4 and conv_out, strides 1, 2, 4, 8 and 8 (16 along z)."""
        features = [self.conv1(self.conv_input(x))]
        for layer in (self.conv2, self.conv3, self.conv4, self.conv_out):
            features.append(layer(features[-1]))
        return features


def _layer(
    in_channels: int,
    out_channels: int,
    kernel_size: int | Triple = 3,
    stride: int | Triple = 1,
    padding: int | Triple = 0,
) -> nn.Sequential:
    conv = SparseConv3d(in_channels, out_channels, kernel_size, stride, padding, layout="spconv")
    return nn.Sequential(conv, SparseBatchNorm(out_channels, eps=1e-3, momentum=0.01), SparseReLU())


class BevCells(NamedTuple):
    """Cells of bird's-eye-view maps as the sources of an occupancy decoder.

    Attributes:
        latents: (B H W, C).
        positions: (B H W, 3) meters, z = 0.
        clouds: (B H W,) int64 number of the map.
    """

    latents: Tensor
    positions: Tensor
    clouds: Tensor


def bev_cells(bev: Tensor, extent: Sequence[float]) -> BevCells:
    """Return the cells of maps, row by row, at their published positions.

    Args:
        bev: (B, C, H, W), see :meth:`Second.bev`.
        extent: of the range: x, y, z low, then x, y, z high, meters.
    """
    batch, _, height, width = bev.shape
    x = stretched_cells(extent[0], extent[3], width).expand(height, width)
    y = stretched_cells(extent[1], extent[4], height)[:, None].expand(height, width)
    positions = torch.stack([x, y, torch.zeros_like(x)], 2).flatten(0, 1).repeat(batch, 1).to(bev.device)
    clouds = torch.arange(batch, device=bev.device).repeat_interleave(height * width)
    return BevCells(bev.permute(0, 2, 3, 1).flatten(0, 2), positions, clouds)


def stretched_cells(low: float, high: float, count: int) -> Tensor:
    """Return (count,) positions of cells in meters, as published: spread from one border of the range to the other.

    They are not the centers of the cells.

    Args:
        low: border of the range along x or y, meters.
        high: the other border.
        count: cells.
    """
    return torch.arange(count) / (count - 1) * (high - low) + low
