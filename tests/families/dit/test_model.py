"""The loss of a denoised latent against the formulas of Karras et al. 2022; what a validation draws, and counts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("nemo")

from cosmos_lidar.families.dit.job import make_dry_model
from cosmos_lidar.families.dit.model import DitModel
from cosmos_lidar.recipes import dit
from cosmos_lidar.training.batches import ExampleBatch
from cosmos_lidar.training.overrides import apply_overrides

SIGMA_DATA = 0.5
SHAPE = (4, 2, 4, 6)


class Linear(nn.Module):
    """Raw output 0.3 x + c_noise: what is passed to the network can be read from what it gives."""

    def forward(self, x: Tensor, timesteps: Tensor, text: Tensor | None) -> Tensor:
        return 0.3 * x + timesteps.view(-1, 1, 1, 1, 1)


@pytest.fixture
def model() -> DitModel:
    run = apply_overrides(dit.debug(), ["model.noise.mean=-0.5", "model.noise.std=1.2"])
    return DitModel(run, Linear(), Path())


def batch(*seeds: int) -> ExampleBatch:
    latents = torch.randn(len(seeds), *SHAPE, generator=torch.Generator().manual_seed(0))
    return ExampleBatch(len(seeds), latents=latents, text=None, noise_seeds=list(seeds))


def test_denoising(model: DitModel) -> None:
    noisy, sigma = torch.randn(2, *SHAPE), torch.tensor([0.1, 7.0])
    found = model(noisy, sigma)
    for x, s, denoised in zip(noisy, sigma.tolist(), found, strict=True):
        root = (s**2 + SIGMA_DATA**2) ** 0.5
        raw = 0.3 * x / root + 0.25 * torch.tensor(s).log()
        expected = SIGMA_DATA**2 / root**2 * x + s * SIGMA_DATA / root * raw
        assert torch.allclose(denoised, expected, atol=1e-5)


def test_the_loss_is_weighted_by_the_noise(model: DitModel) -> None:
    given = batch(3, 4, 5)
    sigma, noisy = model._noised(given)
    error = (model(noisy, sigma) - given.latents).square().mean((1, 2, 3, 4))
    weight = (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2
    values = model.step(given)
    assert values["mse"].item() == pytest.approx(error.mean().item(), rel=1e-5)
    assert values["loss"].item() == pytest.approx((weight * error).mean().item(), rel=1e-5)


def test_noise_belongs_to_the_sample_and_not_to_its_place(model: DitModel) -> None:
    given, turned = batch(3, 4), batch(4, 3)
    turned.latents = given.latents.flip(0)
    assert torch.equal(model._noised(given)[1], model._noised(turned)[1].flip(0))
    assert not torch.equal(*model._noised(batch(3, 4))[0])


def test_noise_levels_are_log_normal(model: DitModel) -> None:
    levels = torch.cat([model._draw(seed, torch.Size([1]))[0] for seed in range(2000)]).log()
    assert levels.mean().item() == pytest.approx(-0.5, abs=0.1)
    assert levels.std().item() == pytest.approx(1.2, abs=0.1)


def test_example_batches_and_tokens_are_those_of_the_data() -> None:
    model = make_dry_model(dit.debug())
    example = model.example_batch(2)
    assert example.latents.shape == (2, *model.run.data.latent_shape)
    _, frames, height, width = model.run.data.latent_shape
    assert model.items_per_sample() == frames * (height // 2) * (width // 2)
    values = model.step(example)
    assert torch.isfinite(values["loss"])
