"""Lane lines of a street: the center line and the lines along the parking strips, as the surface has them painted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosmos_lidar.synth.terrain import Terrain

CENTER_M, EDGE_M = 0.0, 3.55  # from the center of the road to the middle of the line
JUNCTION_M = 5.0  # lines end so far before a side road
LINES_M = 130.0  # of the road before and behind the drive
_STEP_M = 2.0


@dataclass(frozen=True)
class DriveLanes:
    """``lane_lines`` of a clip.

    Attributes:
        terrain: the ground.
        first_m: where lines begin, along world x.
        last_m: where they end.
    """

    terrain: Terrain
    first_m: float
    last_m: float

    def __call__(self) -> list[np.ndarray]:
        """Return the lines, (P, 3) float64 meters in the world each; dashes count as drawn through."""
        x = np.arange(self.first_m, self.last_m, _STEP_M)
        away = np.full(len(x), np.inf)
        for crossing in self.terrain.crossings_m:
            away = np.minimum(away, np.abs(x - crossing))
        free = away - self.terrain.crossing_half_width_m >= JUNCTION_M
        pieces = np.split(x, np.flatnonzero(np.diff(free)) + 1)
        parts = [piece for piece in pieces if free[np.searchsorted(x, piece[0])] and len(piece) > 1]
        laterals = (-EDGE_M, CENTER_M, EDGE_M)
        return [
            np.stack([self.terrain.frame(float(at), lateral)[:3, 3] for at in part])
            for lateral in laterals for part in parts
        ]  # fmt: skip
