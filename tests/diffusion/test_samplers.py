"""Solvers against the exact path of Gaussian data, and the two objectives against each other."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cosmos_lidar.diffusion.edm import sigma_ladder
from cosmos_lidar.diffusion.objective import flow_ladder
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


def error(name: str, steps: int, schedule=sigma_ladder) -> float:
    noise = torch.linspace(-2, 2, 41, dtype=torch.float64)
    return (solve(name, denoise, noise, schedule(steps, TOP, BOTTOM)) - exact(noise)).abs().max().item()


@pytest.mark.parametrize(("name", "order"), [("2ab", 2), ("dpm++2m", 2), ("heun", 2), ("ddim", 1)])
def test_order_of_convergence(name: str, order: int):
    errors = [error(name, steps) for steps in (64, 128, 256)]
    for coarse, fine in zip(errors[:-1], errors[1:], strict=True):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.25)
    assert errors[-1] < (1e-3 if order == 2 else 2e-2)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_denoiser_that_knows_the_answer_is_followed_exactly(name: str):
    target = torch.tensor([3.0, -1.0], dtype=torch.float64)
    for schedule in (sigma_ladder(4), flow_ladder(4)):
        assert torch.allclose(solve(name, lambda x, sigma: target, torch.randn(2), schedule), target)


def test_ddim_is_euler_along_the_straight_path_of_a_flow():
    for schedule in (sigma_ladder(7), flow_ladder(7)):
        noise = torch.linspace(-2, 2, 41, dtype=torch.float64)
        x = noise * schedule[0] / (1 + schedule[0])
        for sigma, target in zip(schedule[:-1], schedule[1:], strict=True):
            x0 = denoise(x * (1 + sigma), sigma)
            velocity = (x * (1 + sigma) - x0) / sigma - x0
            x = x + (target / (1 + target) - sigma / (1 + sigma)) * velocity
        wanted = denoise(x * (1 + schedule[-1]), schedule[-1])
        assert torch.allclose(solve("ddim", denoise, noise, schedule), wanted, atol=1e-12)


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
    with pytest.raises(UserError, match=r"unknown sampler 'euler'; valid: 2ab, ddim, dpm\+\+2m, heun"):
        solve("euler", denoise, noise, sigma_ladder(9))


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (4, [-1.363002389, -1.011471824, -0.6373168849, -0.2200026349]),
        (35, [-1.444658222, -1.106778605, -0.7288477843, -0.2804039159]),
    ],
)
def test_sampler(steps, expected):
    calls = []

    def denoise(x, sigma):
        calls.append(sigma.item())
        return 0.25 * x / (0.25 + sigma**2) + 0.1 * torch.tanh(x)

    sample = exponential_multistep(denoise, torch.linspace(-2, 2, 8, dtype=torch.float64), steps)
    assert sample[:4].tolist() == pytest.approx(expected, rel=1e-8)
    assert torch.allclose(sample, -sample.flip(0))
    assert len(calls) == steps + 1
    assert calls[-1] == pytest.approx(0.02)


def test_options_behind_commas():
    noise, schedule = torch.linspace(-2, 2, 41, dtype=torch.float64), sigma_ladder(64)
    names = ("heun", "heun,alpha=1", "heun,alpha=0.5")
    heun, same, midpoint = (solve(name, denoise, noise, schedule) for name in names)
    assert torch.equal(heun, same)
    assert 1e-9 < (heun - midpoint).abs().max() < 1e-2
    for text, message in (
        ("heun,beta=1", "sampler heun has no option 'beta'; valid: alpha"),
        ("2ab,order=3", "sampler 2ab has no option 'order'; valid: none"),
        ("heun,alpha=half", "alpha: expected a number, got 'half'"),
    ):
        with pytest.raises(UserError, match=message):
            evaluations(text, 3)
