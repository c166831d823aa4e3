"""Peak signal-to-noise ratio of range maps scaled to [0, 1], over every pixel, with return or not."""

from __future__ import annotations

import math

import numpy as np

from cosmos_lidar.metrics import Accumulator, Metric
from cosmos_lidar.metrics.lidar import RangeProtocol
from cosmos_lidar.metrics.pairs import RangePair


class RangePsnr(Accumulator[RangePair]):
    """Squared differences of scaled ranges, pooled over pixels.

    Args:
        limits: ranges that map to 0 and 1; measured ranges are clipped to them.
    """

    def __init__(self, limits: RangeProtocol) -> None:
        self.near_m, self.far_m = limits.min_range_m, limits.max_range_m
        self.squared, self.pixels = 0.0, 0

    def add(self, sample: RangePair) -> None:
        """Add every pixel of a pair of arrays."""
        recorded, made = np.asarray(sample.recorded_m), np.asarray(sample.made_m)
        if sample.returns is not None:
            made = np.where(np.asarray(sample.returns), made, self.near_m)  # as the published coding has it
        clipped = np.clip(recorded, self.near_m, self.far_m)
        difference = (clipped - made).astype(np.float64) / (self.far_m - self.near_m)
        self.squared += float((difference**2).sum())
        self.pixels += difference.size

    def merge(self, other: RangePsnr) -> None:
        """Add the pixels of another accumulator."""
        self.squared += other.squared
        self.pixels += other.pixels

    def result(self) -> dict[str, float]:
        """Return ``psnr_db``: infinite when nothing differs, NaN without pixels."""
        if not self.pixels:
            return {"psnr_db": math.nan}
        return {"psnr_db": 10.0 * math.log10(self.pixels / self.squared) if self.squared else math.inf}


METRIC = Metric(
    sample="ranges",
    definition=("10 log10(1 / mean squared difference) of ranges scaled to [0, 1], every pixel, with return or not"),
    columns={"evaluate": ("psnr_db",)},
    start=RangePsnr,
)
