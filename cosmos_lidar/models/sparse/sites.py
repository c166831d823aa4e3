"""Active sites of a sparse tensor at one stride: coordinates, and a search for them by voxel key."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.sparse.keys import pack_keys, unpack_keys


class Sites:
    """Voxels that have features, in the order of the rows of the features.

    Args:
        coords: (N, 4) int64 batch, x, y, z, in steps of this stride; all different.
        clouds: number of point clouds of the batch.
        shape: cells of the grid along x, y, z, where it has a border; kernels do not reach beyond it.

    Raises:
        DataError: a voxel twice.
    """

    def __init__(self, coords: Tensor, clouds: int, shape: tuple[int, int, int] | None = None) -> None:
        self.coords, self.clouds, self.shape = coords, clouds, shape
        self.keys = pack_keys(coords)
        self._sorted, self._rows = self.keys, None
        if not bool((self.keys[1:] > self.keys[:-1]).all()):
            self._sorted, self._rows = self.keys.sort()
            twice = self._sorted[1:] == self._sorted[:-1]
            if bool(twice.any()):
                voxel = unpack_keys(self._sorted[1:][twice][:1])[0].tolist()
                raise DataError(f"{int(twice.sum())} voxels twice, such as {voxel}", key="coords", wanted="each once")

    @classmethod
    def of_keys(cls, keys: Tensor, clouds: int, shape: tuple[int, int, int] | None = None) -> Sites:
        """Return the sites of ascending keys."""
        return cls(unpack_keys(keys), clouds, shape)

    def __len__(self) -> int:
        return len(self.coords)

    def find(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows of keys and whether each of them is a site; rows of the others mean nothing.

        Args:
            keys: int64 of any shape.
        """
        places = torch.searchsorted(self._sorted, keys).clamp_(max=len(self) - 1)
        found = self._sorted[places] == keys
        return (places if self._rows is None else self._rows[places]), found

    @cached_property
    def counts(self) -> list[int]:
        """Number of sites of each point cloud."""
        return torch.bincount(self.coords[:, 0], minlength=self.clouds).tolist()
