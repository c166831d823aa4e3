"""Sparse backbones by name."""

from __future__ import annotations

from typing import Literal, get_args

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.sparse.backbone import Backbone
from cosmos_lidar.models.sparse.kernel_map import Triple
from cosmos_lidar.models.sparse.minkunet import STEM, MinkUNet
from cosmos_lidar.models.sparse.second import KITTI_GRID, Second
from cosmos_lidar.models.sparse.spvcnn import SPVCNN

MOST_WIDTH = 4 * STEM
BackboneName = Literal["minkunet34", "minkunet18", "minkunet18sc", "spvcnn", "second"]


def build_backbone(
    name: BackboneName | str, in_channels: int, out_channels: int, grid: Triple = KITTI_GRID, width: int = STEM
) -> Backbone:
    """Return a sparse backbone with random weights, its parameters named as in the published files.

    Args:
        name: ``minkunet34``, ``minkunet18``, ``minkunet18sc``, ``spvcnn`` or ``second``.
        in_channels: features of a voxel.
        out_channels: features that come out per voxel; 0: those of the network without its last linear layer.
        grid: of ``second``: voxels along x, y, z.
        width: channels of the first layer of the others, 32 as published; those of all layers are in proportion.

    Raises:
        UserError: an unknown name, impossible sizes.
    """
    if name not in get_args(BackboneName):
        raise UserError(f"backbone {name!r}; valid: {', '.join(get_args(BackboneName))}")
    if in_channels < 1 or out_channels < 0:
        raise UserError(f"backbone of {in_channels} to {out_channels} channels: expected at least 1 and 0")
    if width != STEM and (name == "second" or not 1 <= width <= MOST_WIDTH):
        valid = str(STEM) if name == "second" else f"1 to {MOST_WIDTH}"
        raise UserError(f"{name} of {width} channels in its first layer; valid: {valid}")
    if name == "second":
        return Second(in_channels, out_channels, grid)
    if name == "spvcnn":
        return SPVCNN(in_channels, out_channels, width)
    return MinkUNet(in_channels, out_channels, name, width)
