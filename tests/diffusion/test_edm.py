"""Noise levels, coefficients and the published sampler against their reference numbers."""

import pytest
import torch

from cosmos_lidar.diffusion.edm import draw_sigma, loss_weight, precondition, sigma_ladder
from cosmos_lidar.diffusion.samplers import exponential_multistep

TABLE = [  # sigma, c_skip, c_out, c_in, c_noise, loss weight
    (0.002, 0.999984, 0.001999984, 1.999984, -1.553652, 250004),
    (0.02, 0.99840256, 0.019984019, 1.9984019, -0.97800575, 2504),
    (0.5, 0.5, 0.35355339, 1.4142136, -0.1732868, 8),
    (1.7, 0.079617834, 0.47968275, 0.56433265, 0.13265706, 4.3460208),
    (80, 3.9060974e-05, 0.49999023, 0.012499756, 1.0955067, 4.0001562),
]


@pytest.mark.parametrize("row", TABLE)
def test_coefficients(row):
    sigma = torch.tensor(row[0], dtype=torch.float64)
    assert [v.item() for v in (*precondition(sigma), loss_weight(sigma))] == pytest.approx(row[1:], rel=1e-6)


def test_ladder():
    ladder = sigma_ladder(35)
    expected = {0: 80, 1: 69.532116, 2: 60.26092, 17: 4.4959212, 34: 0.031051976, 35: 0.02}
    assert {i: ladder[i].item() for i in expected} == pytest.approx(expected, rel=1e-7)


def test_sigma_is_log_normal():
    logs = draw_sigma(20000, torch.Generator().manual_seed(0), mean=-3.0, std=2.0).log()
    assert logs.mean().item() == pytest.approx(-3.0, abs=0.05)
    assert logs.std().item() == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(4, [-1.363002389, -1.011471824, -0.6373168849, -0.2200026349]),
     (35, [-1.444658222, -1.106778605, -0.7288477843, -0.2804039159])],
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
