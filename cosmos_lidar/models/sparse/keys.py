"""Voxel keys: batch index and coordinates of a voxel packed into one int64, whose order is lexicographic.

A key is ``batch << 51 | (x + 2^16) << 34 | (y + 2^16) << 17 | (z + 2^16)``. The key of a neighbor is the key of the
voxel plus a constant, which makes a search for neighbors an addition and a binary search.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cosmos_lidar.errors import DataError

_AXIS_BITS = 17
_HALF = 1 << (_AXIS_BITS - 1)
_MARGIN = 64  # cells at the border that only keys of neighbors reach
LOWEST, HIGHEST = _MARGIN - _HALF, _HALF - _MARGIN - 1  # coordinates of voxels
MOST_CLOUDS = 1 << 12
_STEPS = tuple(1 << (_AXIS_BITS * axis) for axis in (3, 2, 1, 0))  # what one step of batch, x, y, z adds to a key


def pack_keys(coords: Tensor) -> Tensor:
    """Return (N,) int64 keys of voxels.

    Args:
        coords: (N, 4) integers: batch, x, y, z. They are not checked, see :func:`check_coords`.
    """
    biased = coords.long() + coords.new_tensor([0, _HALF, _HALF, _HALF], dtype=torch.int64)
    return (biased * biased.new_tensor(_STEPS)).sum(1)


def unpack_keys(keys: Tensor) -> Tensor:
    """Return (N, 4) int64 batch, x, y, z of keys."""
    mask = (1 << _AXIS_BITS) - 1
    axes = [((keys >> (_AXIS_BITS * axis)) & mask) - _HALF for axis in (2, 1, 0)]
    return torch.stack([keys >> (3 * _AXIS_BITS), *axes], 1)


def shifts(offsets: Tensor) -> Tensor:
    """Return (K,) int64: what is added to the key of a voxel for that of its neighbor.

    Args:
        offsets: (K, 3) integers x, y, z, each at most 64 in size.
    """
    return (offsets.long() * offsets.new_tensor(_STEPS[1:], dtype=torch.int64)).sum(1)


def check_coords(coords: Tensor) -> None:
    """Refuse coordinates that are no voxels or have no key.

    Args:
        coords: (N, 4) integers: batch, x, y, z.

    Raises:
        DataError: of another shape or dtype, no rows, or out of range.
    """
    if coords.ndim != 2 or coords.shape[1] != 4 or coords.is_floating_point() or coords.dtype is torch.bool:
        found = f"coordinates of shape {tuple(coords.shape)} and {coords.dtype}"
        raise DataError(found, key="coords", wanted="(N, 4) integers: batch, x, y, z")
    if not len(coords):
        raise DataError("no voxels: an empty sweep", key="coords", wanted="at least one voxel")
    low, high = (bound.tolist() for bound in coords.long().aminmax(dim=0))
    if low[0] < 0 or high[0] >= MOST_CLOUDS:
        raise DataError(f"batch index from {low[0]} to {high[0]}", key="coords", wanted=f"0 to {MOST_CLOUDS - 1}")
    for axis, least, most in zip("xyz", low[1:], high[1:], strict=True):
        if least < LOWEST or most > HIGHEST:
            found = f"{axis} from {least} to {most} voxels"
            raise DataError(found, key="coords", wanted=f"{LOWEST} to {HIGHEST}; a larger voxel_size gives fewer")
