from __future__ import annotations

import pytest
import torch

from cosmos_lidar.diffusion.edm import loss_weight, precondition
from cosmos_lidar.diffusion.objective import flow_ladder, make_objective
from cosmos_lidar.errors import UserError


def test_flow_ladder_is_even_in_time_and_shifts_toward_noise():
    schedule = flow_ladder(10)
    t = schedule / (1 + schedule)
    assert schedule[0] == pytest.approx(80.0)
    assert schedule[-1] == pytest.approx(0.02)
    assert torch.allclose(t.diff(), t.diff()[0].expand(10))
    shifted = flow_ladder(10, shift=3.0)
    middle = t[5] * 3 / (1 + 2 * t[5])
    assert (shifted / (1 + shifted))[5] == pytest.approx(middle.item())
    assert (shifted.diff() <= 0).all()
    assert shifted.max() <= 80.0


def test_flow_objective_is_the_velocity_of_a_straight_path():
    sigma = torch.tensor([0.1, 1.0, 20.0], dtype=torch.float64)
    x0, noise = torch.randn(2, 3, dtype=torch.float64)
    flow = make_objective("flow")
    skip, out, in_, seen = flow.precondition(sigma)
    t = sigma / (1 + sigma)
    x = x0 + sigma * noise
    assert torch.allclose(in_ * x, (1 - t) * x0 + t * noise)
    assert torch.allclose(skip * x + out * (noise - x0), x0)
    assert torch.allclose(seen, 1000 * t)
    wrong = noise - x0 + 0.3
    assert torch.allclose(flow.loss_weight(sigma) * (skip * x + out * wrong - x0) ** 2, torch.full_like(x0, 0.09))


def test_edm_objective_is_that_of_edm():
    sigma = torch.tensor([0.1, 5.0])
    edm = make_objective("edm", 0.5)
    assert all(torch.equal(a, b) for a, b in zip(edm.precondition(sigma), precondition(sigma, 0.5), strict=True))
    assert torch.equal(edm.loss_weight(sigma), loss_weight(sigma, 0.5))
    with pytest.raises(UserError, match="objective 'vp'; valid: edm, flow"):
        make_objective("vp")
