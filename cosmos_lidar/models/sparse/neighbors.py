"""Ball query: neighbors within a radius by a hash of voxels, on CPU and CUDA, for batches of point clouds."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.sparse.keys import check_coords, pack_keys, shifts

Choice = Literal["random", "nearest", "index"]
MOST_NEIGHBORS = 32  # of a query, as published
_SCORE_BITS = 31


class Neighbors(NamedTuple):
    """Pairs of a query and a source near it, in the order of queries, then of sources.

    Attributes:
        queries: (P,) int64 rows.
        sources: (P,) int64 rows.
    """

    queries: Tensor
    sources: Tensor


def ball_neighbors(
    queries: Tensor,
    query_clouds: Tensor,
    sources: Tensor,
    source_clouds: Tensor,
    radius: float,
    most: int = MOST_NEIGHBORS,
    choice: Choice = "random",
    columns: bool = False,
    generator: torch.Generator | None = None,
) -> Neighbors:
    """Return the sources of the same cloud that are nearer to a query than the radius, at most ``most`` for each query.

    Args:
        queries: (Q, 3) meters.
        query_clouds: (Q,) int64 cloud of each query.
        sources: (S, 3) meters.
        source_clouds: (S,) int64 cloud of each source.
        radius: meters; a source at just this distance is no neighbor.
        most: neighbors of a query.
        choice: which ones stay where there are more: at ``random``, the ``nearest``, or those of the lowest ``index``,
            as published; of a cloud in the order of its cells the latter lie on one side.
        columns: distances in x and y alone.
        generator: of ``random``, on the device of the queries.

    Raises:
        UserError: an impossible radius, number or choice.
        DataError: coordinates that are not finite, or too far away for the radius.
    """
    if radius <= 0 or most < 1 or choice not in get_args(Choice):
        wanted = f"a positive radius, at least 1 neighbor, and one of {', '.join(get_args(Choice))}"
        raise UserError(f"ball query of radius {radius}, {most} neighbors, {choice!r}: expected {wanted}")
    axes = 2 if columns else 3
    query_rows, source_rows, distances = _near(queries, query_clouds, sources, source_clouds, radius, axes)
    if len(query_rows) and int(torch.bincount(query_rows).max()) > most:
        scores = _scores(choice, source_rows, distances, generator)
        kept = _first_of_each_query(query_rows, scores, most)
        query_rows, source_rows = query_rows[kept], source_rows[kept]
    order = (query_rows * max(len(sources), 1) + source_rows).argsort()
    return Neighbors(query_rows[order], source_rows[order])


def _near(
    queries: Tensor, query_clouds: Tensor, sources: Tensor, source_clouds: Tensor, radius: float, axes: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return rows of queries, rows of sources and squared distances of all pairs within the radius, query by query.

    Cells are as large as the radius. Those that differ in the last axis alone follow each other in the order of keys:
    three of them are one range of sources.
    """
    if not len(queries) or not len(sources):
        none = query_clouds.new_empty(0)
        return none, none, queries.new_empty(0)
    query_keys = pack_keys(_cells(queries, query_clouds, radius, axes))
    source_keys, order = pack_keys(_cells(sources, source_clouds, radius, axes)).sort()
    lines = query_keys[:, None] + shifts(_lines(axes)).to(query_keys.device)
    low = torch.searchsorted(source_keys, lines - 1)
    counts = torch.searchsorted(source_keys, lines + 1, right=True) - low
    rows = torch.repeat_interleave(counts.sum(1))
    places = _concatenated_ranges(low.flatten(), counts.flatten())
    distances = queries.new_zeros(len(rows))
    for axis in range(axes):  # one axis after the other: rows of three numbers are slow to gather
        along = sources[order, axis].index_select(0, places)
        distances += along.sub_(queries[:, axis].index_select(0, rows)).square_()
    near = (distances < radius * radius).nonzero()[:, 0]
    return rows[near], order[places[near]], distances[near]


def _lines(axes: int) -> Tensor:
    """Return (3 or 9, 3) offsets of cells around one, along the axes before the last."""
    around = [torch.arange(-1, 2)] * (axes - 1)
    offsets = torch.cartesian_prod(*around).view(-1, axes - 1)
    return torch.nn.functional.pad(offsets, (3 - axes, 1))


def _concatenated_ranges(starts: Tensor, counts: Tensor) -> Tensor:
    """Return start, start + 1, … of each range, one range after the other."""
    ends = counts.cumsum(0)
    shift = torch.repeat_interleave(starts + counts - ends, counts)
    return shift.add_(torch.arange(len(shift), device=shift.device))


def _cells(points: Tensor, clouds: Tensor, radius: float, axes: int) -> Tensor:
    """Return (N, 4) cells with the axes that count as the last ones."""
    cells = (points[:, :axes] / radius).floor().long()
    coords = torch.cat([clouds.long()[:, None], cells.new_zeros(len(cells), 3 - axes), cells], 1)
    check_coords(coords)
    return coords


def _scores(choice: Choice, sources: Tensor, distances: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return int64 scores below 2^31; pairs of the lowest ones stay."""
    if choice == "index":
        return sources
    if choice == "nearest":  # the bits of positive float32 numbers have their order
        return distances.float().view(torch.int32).long()
    return torch.randint(1 << _SCORE_BITS, sources.shape, generator=generator, device=sources.device)


def _first_of_each_query(queries: Tensor, scores: Tensor, most: int) -> Tensor:
    order = ((queries << _SCORE_BITS) + scores).argsort()
    ordered = queries[order]
    starts = torch.searchsorted(ordered, ordered)
    return order[torch.arange(len(order), device=order.device) - starts < most]
