"""Height of the common origin of the beams above the origin of the points (KITTI's HDL-64E: 0.2 m)."""

from __future__ import annotations

import numpy as np

from cosmos_lidar.sensors.fit.beams import Beams
from cosmos_lidar.sensors.fit.cloud import Cloud

_FROM_M, _REACH_M = 8.0, 0.6
_SAMPLE = 60_000
_ENOUGH = 100
_BETTER = 0.8  # of the mean deviation: a smaller gain is no sign of another origin


def origin_height(cloud: Cloud, beams: Beams) -> float:
    """Return how far above the points' origin the beams' elevations agree best over all ranges; 0 where it is there.

    From a wrong origin, the elevation of a beam changes with the range: by height / range.
    """
    from scipy.optimize import minimize_scalar

    use = np.flatnonzero((cloud.range_m > _FROM_M) & (beams.row >= 0))
    if len(use) > _SAMPLE:
        use = np.random.default_rng(0).choice(use, _SAMPLE, replace=False)
    use = use[np.argsort(beams.row[use], kind="stable")]
    starts = np.searchsorted(beams.row[use], np.arange(beams.rows + 1))
    groups = [use[a:b] for a, b in zip(starts[:-1], starts[1:], strict=True) if b - a >= _ENOUGH]
    if not groups:
        return 0.0
    flat = [np.linalg.norm(cloud.points[one, :2], axis=1) for one in groups]
    high = [cloud.points[one, 2] for one in groups]

    def spread(height: float) -> float:
        total = 0.0
        for far, z in zip(flat, high, strict=True):
            elevation = np.arctan2(z - height, far)
            total += float(np.abs(elevation - np.median(elevation)).sum())
        return total

    best = minimize_scalar(spread, bounds=(-_REACH_M, _REACH_M), method="bounded", options={"xatol": 5e-4})
    good = best.fun < _BETTER * spread(0.0) and abs(best.x) > 0.02
    return float(best.x) if good else 0.0
