"""Sparse tensors: features of the occupied voxels of a batch of point clouds, with the kernel maps of their sites."""

from __future__ import annotations

import torch
from torch import Tensor

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.models.sparse.kernel_map import KernelMap, Step, Triple, kernel_cells, strided_map, submanifold_map
from cosmos_lidar.models.sparse.keys import check_coords
from cosmos_lidar.models.sparse.sites import Sites

Level = tuple[Step, ...]  # the strided convolutions between the voxels that were given and these


class SiteMaps:
    """Sites and kernel maps of one batch of point clouds, each built when it is first needed, then shared.

    Args:
        sites: of the voxels that were given.
    """

    def __init__(self, sites: Sites) -> None:
        self._sites: dict[Level, Sites] = {(): sites}
        self._maps: dict[tuple, KernelMap] = {}

    def sites(self, level: Level) -> Sites:
        """Return the sites of a level that has been reached."""
        return self._sites[level]

    def submanifold(self, level: Level, kernel: Triple, x_fastest: bool) -> KernelMap:
        """Return the map of a convolution that stays at a level."""
        key = (level, kernel, x_fastest)
        if key not in self._maps:
            self._maps[key] = submanifold_map(self._sites[level], kernel_cells(kernel, x_fastest))
        return self._maps[key]

    def strided(self, level: Level, step: Step, x_fastest: bool) -> KernelMap:
        """Return the map of a convolution from a level to the next one."""
        key, reached = (level, step, x_fastest), (*level, step)
        if key not in self._maps:
            sites, self._maps[key] = strided_map(self._sites[level], step, kernel_cells(step.kernel, x_fastest))
            self._sites.setdefault(reached, sites)
        return self._maps[key]

    def inverse(self, level: Level, kernel: Triple, stride: Triple, x_fastest: bool) -> KernelMap:
        """Return the map of an inverse convolution, from a level back to the one before.

        Raises:
            UserError: another kernel or stride made the level.
        """
        if not level or level[-1][:2] != (kernel, stride):
            made = f"kernel {level[-1].kernel}, stride {level[-1].stride} made them" if level else "no convolution did"
            raise UserError(f"inverse convolution of kernel {kernel}, stride {stride}: of its voxels, {made}")
        return self.strided(level[:-1], level[-1], x_fastest).reversed


class SparseTensor:
    """Features of occupied voxels of a batch of point clouds.

    Args:
        coords: (N, 4) integers batch, x, y, z, each voxel once, in any order.
        feats: (N, C) features in the same order, on the same device.
        clouds: number of point clouds; default: up to the largest batch index. Clouds may have no voxels.
        shape: cells of the grid along x, y, z; needed where a grid has a border, as that of SECOND.

    Attributes:
        feats: (N, C) features.
        maps: sites and kernel maps, shared by all tensors that come from this one.
        level: which sites of ``maps`` the features are at.

    Raises:
        DataError: no voxels, voxels that are given twice or out of range, features of another length.
    """

    feats: Tensor
    maps: SiteMaps
    level: Level

    def __init__(self, coords: Tensor, feats: Tensor, clouds: int | None = None, shape: Triple | None = None) -> None:
        check_coords(coords)
        if feats.ndim != 2 or len(feats) != len(coords) or not feats.is_floating_point():
            found = f"features of shape {tuple(feats.shape)} and {feats.dtype} for {len(coords)} voxels"
            raise DataError(found, key="feats", wanted="(N, C) floating-point numbers, a row per voxel")
        coords = coords.long()
        count = int(coords[:, 0].max()) + 1
        if clouds is not None and clouds < count:
            raise DataError(f"batch index {count - 1} with {clouds} clouds", key="coords", wanted=f"below {clouds}")
        if shape is not None:
            _check_inside(coords, shape)
        self.feats, self.level = feats, ()
        self.maps = SiteMaps(Sites(coords, clouds or count, shape))

    @property
    def sites(self) -> Sites:
        """The sites that the features are at."""
        return self.maps.sites(self.level)

    @property
    def coords(self) -> Tensor:
        """(N, 4) int64 batch, x, y, z in steps of :attr:`stride`."""
        return self.sites.coords

    @property
    def stride(self) -> Triple:
        """Voxels of the given resolution per step of ``coords``, along x, y, z."""
        x, y, z = 1, 1, 1
        for step in self.level:
            x, y, z = x * step.stride[0], y * step.stride[1], z * step.stride[2]
        return x, y, z

    @property
    def clouds(self) -> int:
        """Number of point clouds of the batch."""
        return self.sites.clouds

    def with_feats(self, feats: Tensor, level: Level | None = None) -> SparseTensor:
        """Return a tensor with other features, at the same sites or at those of another level of the same maps."""
        made = object.__new__(SparseTensor)
        made.feats, made.maps, made.level = feats, self.maps, self.level if level is None else level
        return made

    def dense(self, shape: Triple | None = None) -> Tensor:
        """Return (B, C, Z, Y, X) features of all cells, 0 where there is no voxel.

        Args:
            shape: cells along x, y, z; default: those of the grid.

        Raises:
            UserError: a grid without a border, and no shape.
        """
        size = shape or self.sites.shape
        if size is None:
            raise UserError("dense: expected a shape, as this sparse tensor has none")
        _check_inside(self.coords, size)
        batch, x, y, z = self.coords.unbind(1)
        grid = self.feats.new_zeros(self.clouds, *reversed(size), self.feats.shape[1])
        return grid.index_put((batch, z, y, x), self.feats).permute(0, 4, 1, 2, 3)


def cat_feats(first: SparseTensor, second: SparseTensor) -> SparseTensor:
    """Return the features of two tensors at the same sites side by side.

    Raises:
        UserError: they are at different sites.
    """
    if first.maps is not second.maps or first.level != second.level:
        raise UserError("features at different sites cannot be concatenated")
    return first.with_feats(torch.cat([first.feats, second.feats], 1))


def _check_inside(coords: Tensor, shape: Triple) -> None:
    low, high = coords[:, 1:].amin(0).tolist(), coords[:, 1:].amax(0).tolist()
    for axis, least, most, size in zip("xyz", low, high, shape, strict=True):
        if least < 0 or most >= size:
            raise DataError(f"{axis} from {least} to {most} voxels", key="coords", wanted=f"0 to {size - 1}, the grid")
