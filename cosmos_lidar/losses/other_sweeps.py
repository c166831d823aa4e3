"""Occupancy queries from the sweeps before and after one, by their poses, without those of what has moved since."""

from __future__ import annotations

import torch
from torch import Tensor

from cosmos_lidar.losses.occupancy_queries import DISTANCE_M, Queries, Seeds, draw_seeds, make_queries

CELL_DEG = 1.0  # of directions
MARGIN_M = 0.5  # that a sweep must see beyond a place for it to be free
_LAYERS = 1 << 10  # more than elevations, in cells


def other_queries(
    points: Tensor,
    intensities: Tensor,
    count: int,
    sweep_SE3_other: Tensor,
    sweep: Tensor,
    distance: float = DISTANCE_M,
    generator: torch.Generator | None = None,
) -> Queries:
    """Return queries of the returns of another sweep, in the axes of a sweep; far ones lie on rays of the other one.

    Rays whose end the sweep sees as free are left out: what they met has moved.

    Args:
        points: (N, 3) meters from the sensor of the other sweep.
        intensities: (N, 1).
        count: queries; fewer come out of rays that are left out.
        sweep_SE3_other: (4, 4) pose of the other sensor in the axes of the sweep.
        sweep: (M, 3) points of the sweep, from its sensor.
        distance: of the queries near a return, meters.
        generator: of the CPU.

    Raises:
        DataError: no points.
        UserError: fewer than 3 queries, or no positive distance.
    """
    turn, shift = sweep_SE3_other[:3, :3].to(points.dtype), sweep_SE3_other[:3, 3].to(points.dtype)
    seeds = draw_seeds(points, count, generator)
    free = seen_as_free(points @ turn.t() + shift, sweep)
    queries = make_queries(points, intensities, _without(seeds, free), distance)
    return queries._replace(points=queries.points @ turn.t() + shift)


def seen_as_free(places: Tensor, sweep: Tensor, cell_deg: float = CELL_DEG, margin_m: float = MARGIN_M) -> Tensor:
    """Return (N,) bool: all returns of a sweep in the direction of a place are farther away; False where there is none.

    Args:
        places: (N, 3) meters from the sensor.
        sweep: (M, 3) points from the sensor.
        cell_deg: side of the cells of azimuth and elevation that stand for a direction.
        margin_m: how much farther.
    """
    cells, rows = torch.unique(_directions(torch.cat([sweep, places]), cell_deg), return_inverse=True)
    ranges = sweep.norm(dim=1)
    nearest = ranges.new_full((len(cells),), torch.inf)
    nearest = nearest.scatter_reduce(0, rows[: len(sweep)], ranges, "amin")[rows[len(sweep) :]]
    return nearest.isfinite() & (nearest > places.norm(dim=1) + margin_m)


def _directions(points: Tensor, cell_deg: float) -> Tensor:
    """Return (N,) int64 numbers of the cells of azimuth and elevation."""
    azimuth = torch.atan2(points[:, 1], points[:, 0])
    elevation = torch.atan2(points[:, 2], points[:, :2].norm(dim=1))
    cells = (torch.stack([azimuth, elevation]).rad2deg() / cell_deg).floor().long()
    return cells[0] * _LAYERS + cells[1]


def _without(seeds: Seeds, left_out: Tensor) -> Seeds:
    """Return the seeds of returns that are not left out."""
    kept = [~left_out[rows] for rows in seeds[:3]]
    return Seeds(*(values[keep] for values, keep in zip(seeds, kept * 2, strict=True)))
