"""Queries of another sweep: on its own rays, in the axes of the sweep, without what the sweep sees through."""

from __future__ import annotations

import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.losses.other_sweeps import other_queries, seen_as_free


def wall(x: float, count: int = 81) -> torch.Tensor:
    """Return points of a wall across the x axis, 4 m wide and 2 m high."""
    y, z = torch.meshgrid(torch.linspace(-2, 2, count), torch.linspace(-1, 1, 61), indexing="ij")
    return torch.stack([torch.full_like(y, x), y, z], dim=2).view(-1, 3)


def test_a_place_before_all_returns_of_its_direction_is_free() -> None:
    places = torch.tensor([[5.0, 0.0, 0.0], [9.8, 0.0, 0.0], [12.0, 0.0, 0.0], [0.0, 5.0, 0.0], [5.0, 0.9, 0.45]])
    assert seen_as_free(places, wall(10.0)).tolist() == [True, False, False, False, True]
    both = torch.cat([wall(10.0), wall(4.0)])
    assert not seen_as_free(places, both).any()


def test_queries_lie_on_the_rays_of_the_other_sensor() -> None:
    """The other sensor stands 3 m ahead and looks to the left: its wall is at y = 8 here."""
    pose = torch.tensor([[0.0, -1, 0, 3], [1, 0, 0, 0], [0, 0, 1, 0.5], [0, 0, 0, 1]], dtype=torch.float64)
    points, generator = wall(8.0), torch.Generator().manual_seed(0)
    intensities = torch.rand(len(points), 1, generator=generator)
    queries = other_queries(points, intensities, 300, pose, wall(50.0), 0.5, generator)
    assert (len(queries.points), int(queries.occupied.sum())) == (300, 100)
    origin = torch.tensor([3.0, 0.0, 0.5])
    ends = points @ pose[:3, :3].T.float() + origin
    assert ends[:, 1].tolist() == [8.0] * len(ends)
    rays, along = ends - origin, queries.points - origin
    off = torch.linalg.cross(along[:, None].expand(-1, len(rays), 3), rays.expand(len(along), -1, 3)).norm(dim=2)
    assert float((off / rays.norm(dim=1)).amin(1).max()) < 1e-3
    behind, far = queries.occupied == 1, queries.intensities[:, 0] < 0
    assert (queries.points[behind, 1] >= 8.0 - 1e-4).all()
    assert (queries.points[~behind, 1] <= 8.0 + 1e-4).all()
    assert 0.1 < float((queries.points[far, 1] / 8).std()) < 0.4  # uniform from the other sensor on: 0.29
    assert float(queries.points[far, 1].min()) < 1.0


def test_rays_that_end_in_free_space_are_left_out() -> None:
    """The other sweep met a wall at 5 m that has gone since: the sweep sees one at 20 m in its place."""
    points = torch.cat([wall(5.0) + torch.tensor([0.0, 30.0, 0.0]), wall(5.0)])
    intensities, generator = torch.zeros(len(points), 1), torch.Generator().manual_seed(0)
    queries = other_queries(
        points, intensities, 600, torch.eye(4), wall(20.0, 400) * torch.tensor([1, 4, 8]), 0.1, generator
    )
    assert 100 < len(queries.points) < 500
    assert float(queries.points[queries.occupied == 1, 1].min()) > 25
    with pytest.raises(DataError, match="empty sweep"):
        other_queries(points[:0], intensities[:0], 30, torch.eye(4), points)
