"""Noise levels, coefficients and the published sampler against their reference numbers."""

import pytest
import torch

from cosmos_lidar.diffusion.edm import draw_sigma, loss_weight, precondition, sigma_ladder

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
    schedule = sigma_ladder(35)
    expected = {0: 80, 1: 69.532116, 2: 60.26092, 17: 4.4959212, 34: 0.031051976, 35: 0.02}
    assert {i: schedule[i].item() for i in expected} == pytest.approx(expected, rel=1e-7)


def test_sigma_is_log_normal():
    logs = draw_sigma(20000, torch.Generator().manual_seed(0), mean=-3.0, std=2.0).log()
    assert logs.mean().item() == pytest.approx(-3.0, abs=0.05)
    assert logs.std().item() == pytest.approx(2.0, abs=0.05)
