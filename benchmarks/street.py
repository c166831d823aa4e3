"""Points of one lidar sweep on a street of boxes, cast with torch alone: for benchmarks on machines without NumPy."""

from __future__ import annotations

import math

import torch
from torch import Tensor

HEIGHT_M = 1.73  # of the sensor above the ground
FARTHEST_M = 100.0


def street_points(beams: int = 64, columns: int = 2083, boxes: int = 150, seed: int = 0) -> Tensor:
    """Return the points (N, 3), in meters, that the beams of a spinning lidar hit: ground, houses and cars.

    Args:
        beams: rows of the sensor, from 2 to -24.8 degrees of elevation, as the HDL-64E has them.
        columns: of a turn.
        boxes: houses and cars along the street.
        seed: of their places and sizes.
    """
    elevation = torch.deg2rad(torch.linspace(2.0, -24.8, beams))[:, None]
    azimuth = torch.arange(columns) * (2 * math.pi / columns)
    level = elevation.cos() * torch.ones(columns)
    rays = torch.stack([level * azimuth.cos(), level * azimuth.sin(), elevation.sin().expand(-1, columns)], -1)
    rays = rays.reshape(-1, 3)
    ranges = torch.where(rays[:, 2] < -1e-3, -HEIGHT_M / rays[:, 2], math.inf)
    for low, high in _boxes(boxes, torch.Generator().manual_seed(seed)):
        ranges = torch.minimum(ranges, _entry(rays, low, high))
    hit = ranges < FARTHEST_M
    return rays[hit] * ranges[hit, None]


def _boxes(count: int, generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """Corners (3,) of boxes beside a street along x: every third one a car, the others houses."""
    found = []
    for number in range(count):
        u = torch.rand(6, generator=generator)
        car, side = number % 3 == 0, -1.0 if u[0] < 0.5 else 1.0
        size = torch.tensor([4.5, 1.8, 1.5]) if car else 6.0 + u[1:4] * torch.tensor([14.0, 8.0, 9.0])
        place = torch.stack([(u[4] - 0.5) * 180.0, side * ((3.0 if car else 12.0) + u[5] * (4.0 if car else 10.0))])
        low = torch.tensor([place[0], place[1] - size[1] / 2, -HEIGHT_M])
        found.append((low, low + size))
    return found


def _entry(rays: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Distance (N,) at which rays from the origin enter a box; infinite where they miss it."""
    inverse = 1.0 / torch.where(rays.abs() < 1e-9, 1e-9, rays)
    first, second = low * inverse, high * inverse
    near, far = torch.minimum(first, second).amax(1), torch.maximum(first, second).amin(1)
    return torch.where((near <= far) & (near > 0), near, math.inf)
