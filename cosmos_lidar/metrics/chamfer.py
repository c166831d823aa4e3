"""Chamfer distance of two point clouds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from cosmos_lidar.metrics import Accumulator, Metric
from cosmos_lidar.metrics.pairs import RangePair

WINDOW_M = (5.0, 65.0)  # published
DEFINITION = (
    "points whose distance from the sensor is inside the window; for each point the distance to the nearest point of "
    "the other cloud (exact search); mean over each cloud; chamfer_m = sum of the two means; squared: the same with "
    "squared distances"
)


@dataclass(frozen=True)
class Chamfer:
    """Symmetric Chamfer distance; every number is NaN when one of the clouds is empty.

    Attributes:
        forward_m: mean distance from a reference point to the nearest reconstructed one (grows with what is missing).
        backward_m: mean distance from a reconstructed point to the nearest reference one (grows with what is invented).
        forward_squared_m2: mean squared distance, reference to reconstruction.
        backward_squared_m2: mean squared distance, reconstruction to reference.
        reference_points: points of the reference inside the window.
        reconstructed_points: points of the reconstruction inside the window.
    """

    forward_m: float
    backward_m: float
    forward_squared_m2: float
    backward_squared_m2: float
    reference_points: int
    reconstructed_points: int

    @property
    def chamfer_m(self) -> float:
        """Sum of both mean distances."""
        return self.forward_m + self.backward_m

    @property
    def chamfer_squared_m2(self) -> float:
        """Sum of both mean squared distances."""
        return self.forward_squared_m2 + self.backward_squared_m2


def chamfer_distance(
    reference: np.ndarray, reconstruction: np.ndarray, window_m: tuple[float, float] | None = WINDOW_M
) -> Chamfer:
    """Compute the Chamfer distance of two point clouds in the sensor frame.

    Args:
        reference: (N, >=3) meters.
        reconstruction: (M, >=3) meters.
        window_m: only points with a distance from the sensor in this closed interval are compared; None for all.

    Returns:
        Mean nearest-neighbor distances in both directions, plain and squared; see :data:`DEFINITION`.
    """
    from scipy.spatial import cKDTree

    first, second = _inside(reference, window_m), _inside(reconstruction, window_m)
    if not len(first) or not len(second):
        return Chamfer(math.nan, math.nan, math.nan, math.nan, len(first), len(second))
    forward, _ = cKDTree(second).query(first)
    backward, _ = cKDTree(first).query(second)
    means = [float(values.mean()) for values in (forward, backward, forward**2, backward**2)]
    return Chamfer(*means, len(first), len(second))


def _inside(points: np.ndarray, window_m: tuple[float, float] | None) -> np.ndarray:
    points = np.asarray(points, np.float64).reshape(-1, np.shape(points)[-1])[:, :3]
    if window_m is None:
        return points
    distance = np.linalg.norm(points, axis=1)
    return points[(distance >= window_m[0]) & (distance <= window_m[1])]


class ChamferDistances(Accumulator[RangePair]):
    """Chamfer distance of each frame.

    Args:
        window_m: only points with a range in this interval are compared.

    Attributes:
        frames: in order of addition.
    """

    def __init__(self, window_m: tuple[float, float] = WINDOW_M) -> None:
        self.window_m = window_m
        self.frames: list[Chamfer] = []

    def add(self, sample: RangePair) -> None:
        """Compare the point clouds of one frame.

        Raises:
            ValueError: the sample has no points.
        """
        if sample.points is None:
            raise ValueError("no points to compare: expected RangePair.points")
        self.frames.append(chamfer_distance(*sample.points(), self.window_m))

    def merge(self, other: ChamferDistances) -> None:
        """Add the frames of another accumulator."""
        self.frames += other.frames

    def result(self) -> dict[str, float]:
        """Return ``chamfer_mean_m`` over the frames with points."""
        mean = chamfer_statistics(self.frames)["mean_m"]
        return {"chamfer_mean_m": math.nan if mean is None else mean}

    def document(self) -> dict[str, Any]:
        """Return :func:`chamfer_statistics` under ``chamfer``."""
        return {"chamfer": chamfer_statistics(self.frames)}


def chamfer_statistics(frames: list[Chamfer]) -> dict[str, Any]:
    """Return mean, median and best of the distances of frames; frames without points are counted, not averaged."""
    whole = [frame for frame in frames if math.isfinite(frame.chamfer_m)]
    if not whole:
        return {"frames": 0, "frames_without_points": len(frames), "mean_m": None}
    distances = np.array([frame.chamfer_m for frame in whole])
    return {
        "frames": len(whole),
        "frames_without_points": len(frames) - len(whole),
        "mean_m": float(distances.mean()),
        "median_m": float(np.median(distances)),
        "best_m": float(distances.min()),
        "forward_mean_m": float(np.mean([frame.forward_m for frame in whole])),
        "backward_mean_m": float(np.mean([frame.backward_m for frame in whole])),
        "squared_mean_m2": float(np.mean([frame.chamfer_squared_m2 for frame in whole])),
    }


METRIC = Metric(
    sample="ranges",
    definition=DEFINITION,
    columns={"evaluate": ("chamfer_mean_m",)},
    start=lambda limits: ChamferDistances(),
    settings={"window_m": list(WINDOW_M)},
    needs_points=True,
)
