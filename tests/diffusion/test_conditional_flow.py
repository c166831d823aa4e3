"""Rectified flow with conditioning frames against published numbers: denoised latents, loss, four-step sampler."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cosmos_lidar.diffusion.conditional_flow import (
    SIGMA_MAX,
    SIGMA_MIN,
    Condition,
    ConditionalFlow,
    draw_count,
    draw_level,
    first_frames,
    seeded_noise,
)
from cosmos_lidar.diffusion.edm import sigma_ladder
from cosmos_lidar.diffusion.samplers import solve
from tests.models.dit.predict2.reference import SHAPE, VIEWS, inputs, pseudo_random, tiny_network, vectors

CLEAN = pseudo_random(SHAPE, 1002)
LEVELS = {
    5.0: (-0.23481005, 2.6478119, [-3.0191526, -6.9265251, -6.2789986, -2.4153852]),
    200.0: (-0.2748769, 3.1600578, [-2.8811266, -8.7325439, -5.7318797, -4.2320495]),
    0.01: (-0.0071740065, 0.5734593, [-0.1686070, 0.7641596, -1.0370994, -0.8224825]),
}


@pytest.fixture(scope="module")
def flow() -> ConditionalFlow:
    return ConditionalFlow(tiny_network())


def condition() -> Condition:
    given = inputs()
    mask = first_frames([1], VIEWS, 2)
    assert torch.equal(mask.expand_as(given["condition_mask"]), given["condition_mask"])
    others = {name: given[name] for name in ("text", "fps", "padding_mask", "view_indices")}
    return Condition(CLEAN, mask, others)


@torch.no_grad()
@pytest.mark.parametrize("sigma", LEVELS)
def test_denoised_latents(flow: ConditionalFlow, sigma: float) -> None:
    x0 = flow.denoise(CLEAN + sigma * inputs()["x"], torch.tensor([sigma]), condition())
    torch.testing.assert_close(x0, vectors()[f"denoise_x0_s{sigma:g}"], atol=1e-4, rtol=0)
    mean, std, first = LEVELS[sigma]
    assert float(x0.mean()) == pytest.approx(mean, abs=1e-5)
    assert float(x0.std(correction=0)) == pytest.approx(std, abs=1e-5)
    assert x0[0, 0, 1].flatten()[:4].tolist() == pytest.approx(first, abs=1e-4)
    assert torch.equal(x0[:, :, ::2], CLEAN[:, :, ::2])


@torch.no_grad()
def test_the_loss_is_the_weighted_error_of_x0(flow: ConditionalFlow) -> None:
    noise, sigma = inputs()["x"], torch.tensor([5.0])
    loss = flow.velocity_loss(CLEAN, noise, sigma, condition())
    assert float(loss) == pytest.approx(10.0858469, abs=1e-4)
    x0 = flow.denoise(CLEAN + 5.0 * noise, sigma, condition())
    assert float(loss) == pytest.approx(float(((1 + 5.0) ** 2 / 5.0**2 * (x0 - CLEAN).square()).mean()), rel=1e-5)


@torch.no_grad()
def test_the_published_sampler_of_four_steps(flow: ConditionalFlow) -> None:
    given = condition()
    negative = torch.zeros_like(given.inputs["text"])
    negative[:, :512] = pseudo_random((1, 512, 1024), 1003)
    schedule = sigma_ladder(4, SIGMA_MAX, SIGMA_MIN)
    torch.testing.assert_close(schedule, vectors()["sigmas_4"], rtol=1e-12, atol=0)
    noise = seeded_noise(0, SHAPE)
    assert (200 * noise).flatten()[:3].tolist() == pytest.approx([352.81049, 80.031441, 195.74760], rel=1e-6)
    denoise = flow.denoiser(given, given.with_inputs(text=negative), 7.0)
    made = solve("2ab", denoise, noise, schedule)
    torch.testing.assert_close(made.float(), vectors()["sampler4_final"], atol=1e-3, rtol=0)
    assert float(made.mean()) == pytest.approx(-0.35423129, abs=1e-4)
    alone = solve("2ab", flow.denoiser(given), noise, schedule)
    assert torch.equal(alone, solve("2ab", flow.denoiser(given, given, 7.0), noise, schedule))


def test_the_published_schedule_and_solver() -> None:
    torch.testing.assert_close(sigma_ladder(35, 200.0, 0.01), vectors()["sigmas_35"], rtol=1e-12, atol=0)
    start = torch.tensor([[3.0, -2.0, 200.0]], dtype=torch.float64) / 200
    schedule = sigma_ladder(35, 200.0, 0.01)
    # without the last evaluation: that of a denoiser which returns what it is given at the lowest level
    made = solve("2ab", lambda x, s: x if s == schedule[-1] else 0.5 * x / (1 + s) + 0.1, start, schedule)
    torch.testing.assert_close(made.float(), vectors()["ab2_toy_final"], atol=2e-6, rtol=2e-6)


def test_times_of_frames_are_their_own() -> None:
    seen = {}

    def network(**given: object) -> torch.Tensor:
        seen.update(given)
        return torch.zeros_like(given["x"])

    given = Condition(torch.full((1, 1, 4, 2, 2), 7.0), first_frames([1], 2, 2), {"fps": 10.0})
    ConditionalFlow(network).denoise(torch.full((1, 1, 4, 2, 2), 10.0), torch.tensor([4.0]), given)
    assert seen["timesteps"][0].tolist() == pytest.approx([1e-4 / 1.0001, 0.8, 1e-4 / 1.0001, 0.8])
    assert seen["x"][0, 0, :, 0, 0].tolist() == pytest.approx([7.0, 2.0, 7.0, 2.0])  # c_in = 1 - t of noisy ones alone
    assert seen["condition_mask"].shape == (1, 1, 4, 2, 2)
    assert seen["fps"] == 10.0
    ConditionalFlow(network, compat=True).denoise(torch.zeros(1, 1, 4, 2, 2), torch.tensor([200.0]), given)
    assert seen["timesteps"][0, 1] == 0.99609375  # published: of 0.99502


def test_levels_of_training() -> None:
    rng = np.random.default_rng(0)
    options = {"scale": 8**0.5, "high_ratio": 0.05}
    levels = torch.tensor([draw_level(rng, **options) for _ in range(4000)])
    high = levels[levels >= 200]
    assert 0.03 < len(high) / len(levels) < 0.07
    assert float(levels.max()) < 1e5
    assert float(high.log().mean()) == pytest.approx(math.log(200 * 1e5) / 2, abs=0.5)
    assert float(levels[levels < 200].log().mean()) == pytest.approx(math.log(8) / 2, abs=0.05)


def test_numbers_of_conditioning_frames() -> None:
    rng = np.random.default_rng(0)
    uniform = [draw_count([0, 1], [], rng) for _ in range(1000)]
    assert 0.45 < sum(uniform) / 1000 < 0.55
    weighted = [draw_count([0, 1, 2], [0.5, 0.25, 0.25], rng) for _ in range(1000)]
    assert 0.2 < weighted.count(2) / 1000 < 0.3
    assert first_frames([0, 2], 2, 3).flatten(1).tolist() == [[0] * 6, [1, 1, 0, 1, 1, 0]]
