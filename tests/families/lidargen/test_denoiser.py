"""Canvas and denoiser of camera-to-lidar diffusion against reference numbers; samples depend on their seed alone."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from cosmos_lidar.diffusion.samplers import exponential_multistep
from cosmos_lidar.families.lidargen.canvas import CanvasLayout
from cosmos_lidar.families.lidargen.denoiser import LidarGenDenoiser, draw_sigma_aug, sample_lidar
from cosmos_lidar.models.dit import build_dit

LAYOUT = CanvasLayout(lidar=(8, 12), image=(8, 12), views=3)


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    """The tiny network of the reference numbers: every weight a sine of its place."""
    made = build_dit(
        "faditv2_7b", model_channels=48, num_heads=4, num_blocks=2, adaln_lora_dim=8, crossattn_emb_channels=32
    )
    with torch.no_grad():
        for i, (name, parameter) in enumerate(sorted(made.named_parameters())):
            wave = torch.sin(0.37 * torch.arange(parameter.numel(), dtype=torch.float64) + i)
            norm = name.endswith(("to_q.1.weight", "to_k.1.weight", "affline_norm.weight"))
            parameter.copy_((1 + 0.1 * wave if norm else 0.08 * wave).view_as(parameter).float())
    return made.eval()


def waves(scale: float, shift: float = 0.0, function: object = torch.sin) -> torch.Tensor:
    k = torch.arange(16 * 4 * 8 * 12, dtype=torch.float64)
    return function(scale * k + shift).float().view(1, 16, 4, 8, 12)


@torch.no_grad()
def test_one_denoising_step_of_the_reference(network: torch.nn.Module):
    denoiser = LidarGenDenoiser(network, LAYOUT)
    z0, noise = waves(0.013), waves(0.02, function=torch.cos)
    x0 = denoiser(1.7 * waves(0.031, 0.5), torch.tensor([1.7]), z0, torch.tensor([0.05]), noise)
    assert x0.sum().item() == pytest.approx(51.9874767, abs=1e-3)
    assert x0.abs().sum().item() == pytest.approx(4032.490276, rel=1e-6)
    assert x0[:, :, 0].sum().item() == pytest.approx(-2.3982573, abs=1e-3)
    assert x0[0, 0:3, 0, 0, 0].tolist() == pytest.approx([0.2354976, 1.099244, 0.7678852], abs=1e-5)
    assert x0[0, 9, 0, 5, 6].item() == pytest.approx(0.4706459, abs=1e-5)
    assert torch.equal(x0[:, :, 1:], z0[:, :, 1:])


def test_given_slots_are_seen_at_their_own_noise_whatever_that_of_the_others():
    seen = []

    class Look(torch.nn.Module):
        def forward(
            self, x: torch.Tensor, timesteps: torch.Tensor, text: None, condition_mask: torch.Tensor
        ) -> torch.Tensor:
            seen.append((x, timesteps, condition_mask))
            return torch.zeros_like(x)

    denoiser = LidarGenDenoiser(Look(), LAYOUT)
    z0, noise, sigma_aug = waves(0.1), waves(0.3), torch.tensor([0.2])
    for sigma in (0.05, 30.0):
        denoiser(waves(0.7), torch.tensor([sigma]), z0, sigma_aug, noise)
    c_in = 1 / math.sqrt(0.2**2 + 0.5**2)
    for x, _, mask in seen:
        assert torch.allclose(x[:, :, 1:], c_in * (z0 + 0.2 * noise)[:, :, 1:], atol=1e-6)
        assert mask[0, 0, :, 0, 0].tolist() == [0, 1, 1, 1]
    assert seen[0][1].item() == pytest.approx(0.25 * math.log(0.05))


def test_noise_of_the_condition_is_log_normal():
    levels = draw_sigma_aug(20_000, torch.Generator().manual_seed(0)).log()
    assert levels.mean().item() == pytest.approx(-3.0, abs=0.05)
    assert levels.std().item() == pytest.approx(2.0, abs=0.05)


def test_a_sample_depends_on_its_seed_alone(network: torch.nn.Module):
    denoiser = LidarGenDenoiser(network, LAYOUT)
    images = torch.rand(2, 3, 16, 8, 12, generator=torch.Generator().manual_seed(0)) - 0.5
    sampler = partial(exponential_multistep, steps=3)
    both = sample_lidar(denoiser, images, sampler, [5, 6])
    assert both.shape == (2, 16, 8, 12)
    for number, seed in enumerate((5, 6)):
        alone = sample_lidar(denoiser, images[number : number + 1], sampler, [seed])
        assert torch.allclose(alone[0], both[number], atol=1e-4)
    assert torch.equal(both, sample_lidar(denoiser, images, sampler, [5, 6]))
    assert not torch.allclose(both, sample_lidar(denoiser, images, sampler, [7, 6]))
