from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.losses.reconstruction import l1, laplace_nll

VECTORS = np.load(Path(__file__).parents[1] / "vectors" / "image_tokenizer.npz")


def frames() -> tuple[torch.Tensor, torch.Tensor]:
    """Two clips of 3 frames, time folded into the batch: (3, 3, 32, 32)."""
    return tuple(torch.from_numpy(VECTORS[f"loss/{name}"])[0].transpose(0, 1).contiguous() for name in "xy")


def test_color():
    x, y = frames()
    assert l1(y, x).item() == pytest.approx(0.0930817, abs=1e-6)


def test_color_of_marked_pixels_only():
    x = torch.zeros(1, 3, 2, 2)
    y = torch.tensor([[1.0, 5.0], [2.0, 7.0]]).expand(1, 3, 2, 2)
    mask = torch.tensor([[[[True, False], [True, False]]]])
    assert l1(y, x, mask).item() == pytest.approx(1.5)
    assert l1(y, x, torch.ones(1, 1, 2, 2, dtype=torch.bool)).item() == pytest.approx(l1(y, x).item())
    assert l1(y, x, torch.zeros(1, 1, 2, 2, dtype=torch.bool)).item() == 0.0


@pytest.mark.parametrize(
    ("y", "mask", "message"),
    [
        ((2, 3, 8, 1), None, "images of (2, 3, 8, 1) and (2, 3, 8, 8)"),
        ((2, 1, 8, 8), None, "images of (2, 1, 8, 8) and (2, 3, 8, 8)"),
        ((2, 3, 8, 8), (2, 8, 8), "mask of (2, 8, 8) for images of (2, 3, 8, 8) Expected: (2, 1, 8, 8)"),
        ((2, 3, 8, 8), (2, 3, 8, 8), "mask of (2, 3, 8, 8) for images"),
        ((2, 3, 8, 8), (1, 1, 8, 8), "mask of (1, 1, 8, 8) for images"),
    ],
)
def test_shapes_that_would_be_stretched_are_refused(y: tuple[int, ...], mask: tuple[int, ...] | None, message: str):
    given = None if mask is None else torch.ones(mask)
    with pytest.raises(DataError, match=re.escape(message)):
        l1(torch.zeros(y), torch.zeros(2, 3, 8, 8), given)


def test_laplace_likelihood_of_marked_pixels() -> None:
    rng = torch.Generator().manual_seed(0)
    difference, log_scale = (torch.randn(2, 1, 3, 4, generator=rng) for _ in range(2))
    mask = torch.rand(2, 1, 3, 4, generator=rng) > 0.4
    zeros = torch.zeros_like(difference)
    expected = -torch.distributions.Laplace(zeros, log_scale.exp()).log_prob(difference)[mask].mean()
    assert laplace_nll(difference, log_scale, mask).item() == pytest.approx(expected.item(), rel=1e-5)
    assert laplace_nll(difference, log_scale, torch.zeros_like(mask)).item() == 0


def test_the_likelihood_is_largest_at_the_mean_error() -> None:
    difference = torch.distributions.Laplace(0.0, 0.3).sample((1, 1, 64, 64))
    mask, best = torch.ones(1, 1, 64, 64, dtype=torch.bool), difference.abs().mean().log()
    found = [laplace_nll(difference, (best + shift).expand(1, 1, 64, 64), mask) for shift in (-0.1, 0.0, 0.1)]
    assert found[1] < min(found[0], found[2])
