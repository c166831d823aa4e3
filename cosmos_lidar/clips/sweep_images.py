"""Range images: the sweep of the main lidar nearest to a moment as a gray image, the nearer a return the brighter."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.controls._recent import Recent
from cosmos_lidar.clips.controls.depth import brightness, nearest_sweep
from cosmos_lidar.errors import UserError

STEP_PX = 16  # sides are multiples of it: 8 pixels of a latent, 2 latents of a token


@dataclass(frozen=True)
class SweepImages:
    """Draws the range map of the main lidar of a clip at any moment.

    Attributes:
        clip: with a lidar.
        size: (rows, columns) of the image.
    """

    clip: Clip
    size: tuple[int, int]
    _recent: Recent[np.ndarray] = field(default_factory=Recent, compare=False)

    def __call__(self, time_us: int) -> np.ndarray:
        """Return (rows, columns, 3) uint8, gray: brightness as in depth images; black where no return is.

        A moment without a sweep within the time of one is black.

        Raises:
            DataError: the sweep cannot be read.
        """
        index = nearest_sweep(self.clip, time_us)
        if index is None:
            return np.zeros((*self.size, 3), np.uint8)
        return self._recent.get(index, lambda: self._image(index))

    def _image(self, index: int) -> np.ndarray:
        ranges = nearest_of_blocks(self.clip.range_map(index), self.size)
        return np.repeat(brightness(np.where(ranges > 0, ranges, np.inf))[..., None], 3, axis=-1)


def nearest_of_blocks(range_m: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a range map of ``size``: the nearest return of each block; along a side that grows, pixels are repeated.

    Args:
        range_m: (H, W) meters, 0 for no return.
        size: (rows, columns).
    """
    found = np.where(range_m > 0, range_m, np.inf).astype(np.float32)
    for axis, count in enumerate(size):
        have = found.shape[axis]
        if count >= have:
            found = np.take(found, np.arange(count) * have // count, axis)
        else:
            found = np.minimum.reduceat(found, np.arange(count) * have // count, axis)
    return np.where(np.isfinite(found), found, 0.0).astype(np.float32)


def check_size(size: tuple[int, ...] | list[int], option: str) -> None:
    """Refuse sizes of range images that latents and tokens do not divide.

    Raises:
        UserError: names the option.
    """
    if len(size) not in (0, 2) or any(side < STEP_PX or side % STEP_PX for side in size):
        raise UserError(f"{option}={list(size)}: expected rows and columns, multiples of {STEP_PX}, such as [64,512]")
