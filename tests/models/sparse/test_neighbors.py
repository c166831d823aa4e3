from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.models.sparse.neighbors import ball_neighbors

VECTORS = np.load(Path(__file__).parents[2] / "vectors" / "occupancy.npz")


def cloud(count: int, seed: int, clouds: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(count, 3, generator=generator) * torch.tensor([3.0, 3.0, 0.5])
    return points, torch.randint(clouds, (count,), generator=generator)


@pytest.mark.parametrize(("columns", "name"), [(False, "E_edges"), (True, "E_col_edges")])
def test_published_pairs(columns: bool, name: str) -> None:
    v = {key: torch.from_numpy(VECTORS[key]) for key in ("E_q_pos", "E_q_batch", "E_pos", "E_batch")}
    found = ball_neighbors(*v.values(), radius=1.0, columns=columns)
    assert np.array_equal(torch.stack(found), VECTORS[name])


@pytest.mark.parametrize("radius", [0.3, 1.0, 20.0])
def test_the_pairs_of_a_tree(radius: float) -> None:
    (queries, of_query), (sources, of_source) = cloud(80, 0), cloud(700, 1)
    found = ball_neighbors(queries, of_query, sources, of_source, radius, most=1000)
    wanted = []
    for row, near in enumerate(cKDTree(sources).query_ball_point(queries, radius)):
        wanted += [(row, source) for source in sorted(near) if of_source[source] == of_query[row]]
    assert torch.stack(found, 1).tolist() == [list(pair) for pair in wanted]


@pytest.mark.parametrize("columns", [False, True])
def test_which_of_too_many_neighbors_stay(columns: bool) -> None:
    (queries, of_query), (sources, of_source) = cloud(40, 0), cloud(900, 1)
    given: Any = (queries, of_query, sources, of_source, 1.5)
    everything = ball_neighbors(*given, most=1000, columns=columns)
    by_query = {row: everything.sources[everything.queries == row] for row in range(len(queries))}
    assert max(map(len, by_query.values())) > 40
    found = {choice: ball_neighbors(*given, most=20, choice=choice, columns=columns) for choice in
             ("index", "nearest", "random")}  # fmt: skip
    axes = 2 if columns else 3
    for row, near in by_query.items():
        distances = (sources[near, :axes] - queries[row, :axes]).square().sum(1)
        kept = {choice: pairs.sources[pairs.queries == row] for choice, pairs in found.items()}
        assert torch.equal(kept["index"], near[:20])
        assert torch.equal(kept["nearest"], near[distances.argsort()[:20]].sort()[0])
        assert len(kept["random"]) == min(len(near), 20)
        assert set(kept["random"].tolist()) <= set(near.tolist())


def test_every_neighbor_is_drawn_alike_and_a_seed_repeats_the_draw() -> None:
    queries, sources = torch.zeros(1, 3), torch.linspace(-0.5, 0.5, 50)[:, None] * torch.ones(3)
    zeros = torch.zeros(50, dtype=torch.int64)
    draws = [
        ball_neighbors(
            queries, zeros[:1], sources, zeros, 1.0, 10, generator=torch.Generator().manual_seed(seed)
        ).sources
        for seed in (*range(500), 0)
    ]
    assert torch.equal(draws[0], draws[-1])
    counts = torch.bincount(torch.cat(draws[:-1]), minlength=50)
    assert (counts - 100).abs().max() < 45  # five standard deviations of 500 draws with a chance of 1/5


def test_a_source_at_the_radius_is_no_neighbor_and_no_sources_give_no_pairs() -> None:
    zero = torch.zeros(1, dtype=torch.int64)
    at = torch.tensor([[1.0, 0, 0]])
    assert not len(ball_neighbors(torch.zeros(1, 3), zero, at, zero, 1.0).queries)
    assert len(ball_neighbors(torch.zeros(1, 3), zero, at, zero, 1.001).queries) == 1
    assert not len(ball_neighbors(at, zero, torch.zeros(0, 3), zero[:0], 1.0).queries)
    assert not len(ball_neighbors(torch.zeros(0, 3), zero[:0], at, zero, 1.0).queries)


def test_impossible_options_and_points() -> None:
    zero, at = torch.zeros(1, dtype=torch.int64), torch.ones(1, 3)
    for options in ({"radius": 0.0}, {"radius": 1.0, "most": 0}, {"radius": 1.0, "choice": "first"}):
        with pytest.raises(UserError, match="random, nearest, index"):
            ball_neighbors(at, zero, at, zero, **options)
    with pytest.raises(DataError, match="x from"):
        ball_neighbors(at, zero, at * float("inf"), zero, 1.0)
