"""Range errors (RMSE, MAE, relative error) and ray drop of reconstructed range maps, as a metric of the commands."""

from __future__ import annotations

from typing import Any

from cosmos_lidar.metrics import Accumulator, Metric
from cosmos_lidar.metrics.lidar import RangeErrors, RangeProtocol
from cosmos_lidar.metrics.pairs import RangePair

FORMULAS = {
    "pixels": "measured range inside the limits by more than margin_m, after merging columns; all frames pooled",
    "rmse_m": "sqrt(mean d^2), d = measured range - decoded range",
    "mae_m": "mean |d|",
    "relative": "mean(|d| / (measured range + epsilon_m))",
    "both_valid": "the same where measured and decoded range are both inside the limits by more than buffer_m",
    "ray_drop": "positive = no return; decoded no return = decoded range within buffer_m of a limit",
}


class RangeErrorSums(Accumulator[RangePair]):
    """Pooled range errors of pairs.

    Args:
        limits: the constants.

    Attributes:
        errors: the sums.
    """

    def __init__(self, limits: RangeProtocol) -> None:
        self.errors = RangeErrors(limits)

    def add(self, sample: RangePair) -> None:
        """Compare one more pair of arrays or tensors."""
        self.errors.add(sample.recorded_m, sample.made_m, sample.valid, sample.returns)

    def merge(self, other: RangeErrorSums) -> None:
        """Add the pixels of another accumulator with the same constants."""
        self.errors.merge(other.errors)

    def result(self) -> dict[str, float]:
        """Return the errors with the published mask, and precision and recall of ray drop."""
        found = self.errors.result()
        errors, drop = found.published, found.ray_drop
        return {
            "rmse_m": errors.rmse_m,
            "mae_m": errors.mae_m,
            "relative": errors.relative,
            "drop_precision": drop.precision,
            "drop_recall": drop.recall,
        }

    def document(self) -> dict[str, Any]:
        """Return errors of both masks and of every band of range, ray drop, and the histogram of errors."""
        return self.errors.result().to_dict()


METRIC = Metric(
    sample="ranges",
    definition="; ".join(f"{name}: {formula}" for name, formula in FORMULAS.items()),
    columns={
        "evaluate": ("rmse_m", "mae_m", "relative", "drop_precision", "drop_recall"),
        "validation": ("rmse_m", "mae_m", "relative"),
    },
    start=RangeErrorSums,
)
