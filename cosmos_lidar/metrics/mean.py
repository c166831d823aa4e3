"""Mean of values per image, over samples of any number of batches: the accumulator of most metrics of images."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from cosmos_lidar.metrics import Accumulator
from cosmos_lidar.metrics.pairs import ImagePair

if TYPE_CHECKING:
    from torch import Tensor


class MeanOfImages(Accumulator[ImagePair]):
    """Mean over samples of the mean over their images.

    Args:
        functions: (made, recorded), both (B, 3, H, W), -> (B,) values, by column; functions of a module, which can be
            pickled.
    """

    def __init__(self, **functions: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.functions = functions
        self.sums = dict.fromkeys(functions, 0.0)
        self.samples = 0

    def add(self, sample: ImagePair) -> None:
        """Add the images of one or more samples."""
        for name, function in self.functions.items():
            self.sums[name] += float(function(sample.made, sample.recorded).sum()) / sample.frames
        self.samples += len(sample.recorded) // sample.frames

    def merge(self, other: MeanOfImages) -> None:
        """Add the samples of another accumulator."""
        for name, value in other.sums.items():
            self.sums[name] += value
        self.samples += other.samples

    def result(self) -> dict[str, float]:
        """Return the mean of each function; NaN without samples."""
        return {name: value / self.samples if self.samples else math.nan for name, value in self.sums.items()}
