"""Solvers against the exact path of Gaussian data, and the two objectives against each other."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cosmos_lidar.diffusion.edm import loss_weight, precondition, sigma_ladder
from cosmos_lidar.diffusion.objective import flow_ladder, make_objective
from cosmos_lidar.diffusion.samplers import SOLVERS, evaluations, exponential_multistep, solve
from cosmos_lidar.errors import UserError

MEAN, STD = 0.7, 0.6  # of the data
TOP, BOTTOM = 80.0, 0.02


def denoise(x: Tensor, sigma: Tensor) -> Tensor:
    """Return the mean of data N(MEAN, STD^2) that noise of sigma made into x."""
    return (STD**2 * x + sigma**2 * MEAN) / (STD**2 + sigma**2)


def exact(noise: Tensor) -> Tensor:
    """Return what the flow dx / d sigma = (x - x0) / sigma makes of it: standard scores do not change along it."""
    score = (noise * TOP - MEAN) / math.hypot(STD, TOP)
    return denoise(MEAN + score * math.hypot(STD, BOTTOM), torch.tensor(BOTTOM))


def error(name: str, steps: int, ladder=sigma_ladder) -> float:
    noise = torch.linspace(-2, 2, 41, dtype=torch.float64)
    return (solve(name, denoise, noise, ladder(steps, TOP, BOTTOM)) - exact(noise)).abs().max().item()


@pytest.mark.parametrize(("name", "order"), [("2ab", 2), ("dpm++2m", 2), ("heun", 2), ("ddim", 1)])
def test_order_of_convergence(name: str, order: int):
    errors = [error(name, steps) for steps in (64, 128, 256)]
    for coarse, fine in zip(errors[:-1], errors[1:], strict=True):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.25)
    assert errors[-1] < (1e-3 if order == 2 else 2e-2)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_denoiser_that_knows_the_answer_is_followed_exactly(name: str):
    target = torch.tensor([3.0, -1.0], dtype=torch.float64)
    for ladder in (sigma_ladder(4), flow_ladder(4)):
        assert torch.allclose(solve(name, lambda x, sigma: target, torch.randn(2), ladder), target)


def test_ddim_is_euler_along_the_straight_path_of_a_flow():
    for ladder in (sigma_ladder(7), flow_ladder(7)):
        noise = torch.linspace(-2, 2, 41, dtype=torch.float64)
        x = noise * ladder[0] / (1 + ladder[0])
        for sigma, target in zip(ladder[:-1], ladder[1:], strict=True):
            x0 = denoise(x * (1 + sigma), sigma)
            velocity = (x * (1 + sigma) - x0) / sigma - x0
            x = x + (target / (1 + target) - sigma / (1 + sigma)) * velocity
        wanted = denoise(x * (1 + ladder[-1]), ladder[-1])
        assert torch.allclose(solve("ddim", denoise, noise, ladder), wanted, atol=1e-12)


def test_few_steps_second_order_is_nearer():
    assert error("2ab", 6) < error("ddim", 6)
    assert error("dpm++2m", 6) < error("ddim", 6)


def test_evaluations_and_progress():
    for name in SOLVERS:
        seen = []
        solve(name, denoise, torch.randn(3), sigma_ladder(5), seen.append)
        assert seen == list(range(1, evaluations(name, 5) + 1))


def test_the_published_name_is_the_same_solver():
    noise = torch.randn(5, dtype=torch.float64)
    assert torch.equal(exponential_multistep(denoise, noise, 9), solve("2ab", denoise, noise, sigma_ladder(9)))
    with pytest.raises(UserError, match=r"sampler 'euler': known are 2ab, dpm\+\+2m, ddim, heun"):
        solve("euler", denoise, noise, sigma_ladder(9))


def test_flow_ladder_is_even_in_time_and_shifts_towards_noise():
    ladder = flow_ladder(10)
    t = ladder / (1 + ladder)
    assert ladder[0] == pytest.approx(80.0)
    assert ladder[-1] == pytest.approx(0.02)
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
    with pytest.raises(UserError, match="objective 'vp': known are edm, flow"):
        make_objective("vp")
