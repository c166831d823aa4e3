from __future__ import annotations

import pytest
import torch

from cosmos_lidar.models.sparse.row_sums import averaging, interpolation
from cosmos_lidar.models.sparse.sites import Sites


def sites(stride: int) -> tuple[Sites, Sites]:
    """Return random fine voxels, also below 0, and the coarse ones that they lie in, of two clouds."""
    generator = torch.Generator().manual_seed(0)
    coords = (torch.rand(2, 12, 10, 8, generator=generator) < 0.1).nonzero()
    coords = coords - torch.tensor([0, 5, 3, 4])
    parents = coords.div(torch.tensor([1, stride, stride, stride]), rounding_mode="floor")
    return Sites(coords, 2), Sites(parents.unique(dim=0), 2)


@pytest.mark.parametrize("stride", [2, 4])
def test_averages_of_the_voxels_inside(stride: int) -> None:
    fine, coarse = sites(stride)
    x = torch.randn(len(fine), 3, dtype=torch.float64)
    out = averaging(fine, coarse, stride)(x)
    for row, (batch, *at) in enumerate(coarse.coords.tolist()):
        inside = torch.tensor([b == batch and [c // stride for c in p] == at for b, *p in fine.coords.tolist()])
        torch.testing.assert_close(out[row], x[inside].mean(0))


@pytest.mark.parametrize("stride", [2, 4])
def test_interpolation_between_the_corners_that_are_there(stride: int) -> None:
    fine, coarse = sites(stride)
    x = torch.randn(len(coarse), 3, dtype=torch.float64)
    rows = {tuple(voxel): row for row, voxel in enumerate(coarse.coords.tolist())}
    out = interpolation(coarse, fine, stride)(x)
    for row, (batch, *at) in enumerate(fine.coords.tolist()):
        total, weights = torch.zeros(3, dtype=torch.float64), 0.0
        for (corner_batch, *corner), source in rows.items():
            weight = 1.0
            for p, c in zip(at, corner, strict=True):
                weight *= max(0.0, 1 - abs(p / stride - c))
            if corner_batch == batch and weight:
                total += weight * x[source]
                weights += weight
        torch.testing.assert_close(out[row], total / weights, rtol=1e-6, atol=1e-6)


def test_gradients_by_finite_differences() -> None:
    fine, coarse = sites(4)
    x = torch.randn(len(coarse), 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(interpolation(coarse, fine, 4), (x,))
    x = torch.randn(len(fine), 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(averaging(fine, coarse, 4), (x,))
