from __future__ import annotations

import pytest
import torch

from cosmos_lidar.losses.cosine import cosine_loss, grid_cosine_loss


def test_rows_by_the_formula_and_none() -> None:
    features = torch.tensor([[3.0, 4.0], [1.0, 0.0], [-2.0, 0.0]], requires_grad=True)
    wanted = torch.tensor([[6.0, 8.0], [0.0, 5.0], [1.0, 0.0]], requires_grad=True)
    loss, rows = cosine_loss(features, wanted)
    assert rows == 3
    assert loss.item() == pytest.approx((0 + 1 + 2) / 3, abs=1e-6)
    loss.backward()
    assert wanted.grad is None
    assert features.grad is not None
    none, rows = cosine_loss(features[:0], wanted[:0])
    assert (none.item(), rows) == (0.0, 0)
    none.backward()


def test_samples_count_alike_and_empty_places_do_not() -> None:
    torch.manual_seed(0)
    features, wanted = torch.randn(3, 2, 4, 5), torch.randn(3, 2, 4, 5)
    wanted[0, 0], wanted[0, 1, 1:], wanted[2] = 0, 0, 0
    cosines = (features * wanted).sum(-1) / (features.norm(dim=-1) * wanted.norm(dim=-1)).clamp(min=1e-9)
    expected = (1 - cosines[0, 1, 0] + (1 - cosines[1]).mean()) / 3
    assert grid_cosine_loss(features, wanted).item() == pytest.approx(expected.item(), rel=1e-5)
    assert grid_cosine_loss(wanted[1:2] * 7, wanted[1:2]).item() == pytest.approx(0, abs=1e-6)
