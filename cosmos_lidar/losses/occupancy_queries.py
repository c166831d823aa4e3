"""Queries of the occupancy pretext task of ALSO: points just behind, just in front of and far before each return."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.models.sparse.decimation import decimate

DISTANCE_M = 0.1  # of queries near a return, as published
_MOST_SHIFT_M = 15.0  # as published with BEVContrast
NO_INTENSITY = -1.0


class Queries(NamedTuple):
    """Points with known occupancy: of a third behind the surface, of two thirds in free space.

    Attributes:
        points: (M, 3) meters.
        occupied: (M,) int64: 1 behind a return, 0 before it.
        intensities: (M, 1) of the return; -1 where it is far.
    """

    points: Tensor
    occupied: Tensor
    intensities: Tensor


class PretextSweep(NamedTuple):
    """One training sample of the pretext task.

    Attributes:
        points: (N, 3) meters, input of the network.
        intensities: (N, 1).
        queries: whose occupancy the decoder predicts.
        sensor_SE3_points: (4, 4) float64: takes ``points`` back to where the sensor has them; a reflection where they
            were mirrored.
        rows: (N,) which of the points of the whole sweep they are.
    """

    points: Tensor
    intensities: Tensor
    queries: Queries
    sensor_SE3_points: Tensor
    rows: Tensor


class Seeds(NamedTuple):
    """Which returns the three kinds of queries start from, and random numbers of [0, 1) that place them on the ray.

    Attributes:
        behind: indices of returns, as are ``before`` and ``far``.
        u_behind: (n,) share of the distance behind the return.
        u_before: (n,) share of the distance before it.
        u_far: (n,) share of the range.
    """

    behind: Tensor
    before: Tensor
    far: Tensor
    u_behind: Tensor
    u_before: Tensor
    u_far: Tensor


def pretext_sweep(
    points: Tensor,
    intensities: Tensor,
    query_count: int,
    most_points: int,
    decimation: float | None = None,
    distance: float = DISTANCE_M,
    rotation: bool = True,
    flip: bool = True,
    translation: float = 0.0,
    generator: torch.Generator | None = None,
) -> PretextSweep:
    """Return a sweep with its queries, in the published order of steps.

    One point stays per cell; queries are drawn from these; a random part of the points is the input; input and queries
    are turned by one random rotation and flip.

    Args:
        points: (N, 3) meters from the sensor, which is at 0.
        intensities: (N, 1).
        query_count: queries.
        most_points: of the input.
        decimation: size of a cell, meters; None: all points stay.
        distance: of the queries near a return, meters.
        rotation: by any angle about z.
        flip: of x, with probability 1/2.
        translation: before these, along x and y: its standard deviation, meters, cut at 15 m; 0: none.
        generator: of the CPU.

    Raises:
        DataError: no points, or coordinates that are not finite or too far away.
        UserError: impossible numbers.
    """
    rows = torch.arange(len(points), device=points.device)
    if decimation is not None:
        rows = decimate(points, decimation)
        points, intensities = points[rows], intensities[rows]
    queries = draw_queries(points, intensities, query_count, distance, generator)
    kept = draw_kept(points, most_points, generator)
    turn = draw_turn(rotation, flip, generator)
    shift = draw_shift(translation, generator) if translation else torch.zeros(3)
    back = torch.eye(4, dtype=torch.float64)
    back[:3, :3], back[:3, 3] = turn.double(), -shift.double()
    moved = [(part + shift.to(part.dtype)) @ turn.to(part.dtype) for part in (points[kept], queries.points)]
    return PretextSweep(moved[0], intensities[kept], queries._replace(points=moved[1]), back, rows[kept])


def draw_queries(
    points: Tensor,
    intensities: Tensor,
    count: int,
    distance: float = DISTANCE_M,
    generator: torch.Generator | None = None,
) -> Queries:
    """Return random queries of one sweep: a third each behind, before, and anywhere between sensor and return.

    Args:
        points: (N, 3) meters from the sensor, which is at 0.
        intensities: (N, 1).
        count: M; fewer come out of a sweep with fewer returns.
        distance: of the queries near a return, meters.
        generator: on the device of the points.

    Raises:
        DataError: no points.
        UserError: fewer than 3 queries, or no positive distance.
    """
    return make_queries(points, intensities, draw_seeds(points, count, generator), distance)


def draw_seeds(points: Tensor, count: int, generator: torch.Generator | None = None) -> Seeds:
    """Return random returns, each at most once of a kind, and random shares.

    Raises:
        DataError: no points.
        UserError: fewer than 3 queries.
    """
    if count < 3:
        raise UserError(f"{count} queries of a sweep: expected at least 3")
    if not len(points):
        raise DataError("no points: an empty sweep", key="points", wanted="at least one return")
    third, device = count // 3, points.device
    behind, before, far = (
        torch.randperm(len(points), generator=generator, device=device)[:number]
        for number in (count - 2 * third, third, third)
    )
    shares = (torch.rand(len(seeds), generator=generator, device=device) for seeds in (behind, before, far))
    return Seeds(behind, before, far, *shares)


def make_queries(points: Tensor, intensities: Tensor, seeds: Seeds, distance: float = DISTANCE_M) -> Queries:
    """Return the queries of given returns and shares, those behind first, then those before, then the far ones.

    Args:
        points: (N, 3) meters from the sensor.
        intensities: (N, 1).
        seeds: see :class:`Seeds`.
        distance: meters.

    Raises:
        UserError: no positive distance.
    """
    if distance <= 0:
        raise UserError(f"queries at a distance of {distance} m: expected a positive one")
    directions = F.normalize(points, dim=1)
    behind = points[seeds.behind] + distance * seeds.u_behind[:, None] * directions[seeds.behind]
    before = points[seeds.before] - distance * seeds.u_before[:, None] * directions[seeds.before]
    far = seeds.u_far[:, None] * points[seeds.far]
    counts = [len(behind), len(before), len(far)]
    occupied = torch.repeat_interleave(torch.tensor([1, 0, 0]), torch.tensor(counts)).to(points.device)
    none = intensities.new_full((counts[2], 1), NO_INTENSITY)
    return Queries(
        torch.cat([behind, before, far]),
        occupied,
        torch.cat([intensities[seeds.behind], intensities[seeds.before], none]),
    )


def draw_kept(points: Tensor, most: int, generator: torch.Generator | None = None) -> Tensor:
    """Return indices of at most ``most`` points: all of them in their order, or a random part in random order."""
    if len(points) <= most:
        return torch.arange(len(points), device=points.device)
    return torch.randperm(len(points), generator=generator, device=points.device)[:most]


def draw_turn(rotation: bool = True, flip: bool = True, generator: torch.Generator | None = None) -> Tensor:
    """Return a (3, 3) matrix for ``points @ matrix``: a random rotation about z, then x negated with probability 1/2.

    Args:
        rotation: by any angle.
        flip: with probability 1/2.
        generator: of the CPU.
    """
    angle, side = (2 * torch.rand(2, generator=generator, dtype=torch.float64) - 1).tolist()
    turned = torch.tensor(angle * torch.pi if rotation else 0.0, dtype=torch.float64)
    c, s = turned.cos(), turned.sin()
    matrix = torch.tensor([[c, s, 0], [-s, c, 0], [0, 0, 1]], dtype=torch.float64)
    if flip and side < 0:
        matrix[:, 0] *= -1
    return matrix.float()


def draw_shift(deviation: float, generator: torch.Generator | None = None) -> Tensor:
    """Return (3,) a random translation along x and y, normal and cut at 15 m.

    Args:
        deviation: standard deviation, meters.
        generator: of the CPU.
    """
    drawn = (torch.randn(2, generator=generator) * deviation).clamp(-_MOST_SHIFT_M, _MOST_SHIFT_M)
    return torch.cat([drawn, torch.zeros(1)])
