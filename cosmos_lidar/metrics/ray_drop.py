"""Ray-drop metrics of generated range maps: precision, recall, F1 and IoU; positives are rays with a return."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cosmos_lidar.errors import DataError

DEFINITION = (
    "rays of a generated map against the same rays of the recorded one, a ray with range > 0 is positive, counts "
    "pooled over all samples: precision, recall, F1 = 2 p r / (p + r), IoU = both / either"
)


@dataclass(frozen=True)
class RayDropScores:
    """Values between 0 and 1; NaN where undefined.

    Attributes:
        precision: of the generated returns, those that were recorded.
        recall: of the recorded returns, those that were generated.
        f1: harmonic mean of the two.
        iou: rays that return in both maps among those that return in either.
    """

    precision: float
    recall: float
    f1: float
    iou: float


def ray_drop_counts(reference_m: np.ndarray, generated_m: np.ndarray) -> np.ndarray:
    """Return (3,) float64: rays that return in both maps, only in the generated one, only in the recorded one.

    Counts of maps may be added.

    Args:
        reference_m: any shape, meters, 0 = no return.
        generated_m: of the same shape.

    Raises:
        DataError: shapes that differ.
    """
    if np.shape(reference_m) != np.shape(generated_m):
        shapes = f"{np.shape(reference_m)} and {np.shape(generated_m)}"
        raise DataError(f"range maps of {shapes}", wanted="two of the same shape")
    there, made = np.asarray(reference_m) > 0, np.asarray(generated_m) > 0
    return np.array([np.sum(there & made), np.sum(~there & made), np.sum(there & ~made)], np.float64)


def ray_drop_scores(counts: np.ndarray) -> RayDropScores:
    """Return the scores of counts (3,), or of a sum of such counts."""
    both, invented, lost = (float(value) for value in counts)
    return RayDropScores(
        precision=_ratio(both, both + invented),
        recall=_ratio(both, both + lost),
        f1=_ratio(2.0 * both, 2.0 * both + invented + lost),
        iou=_ratio(both, both + invented + lost),
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
