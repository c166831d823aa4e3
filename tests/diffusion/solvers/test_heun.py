import pytest
import torch

from cosmos_lidar.diffusion.solvers.heun import SOLVER


def levels(*levels):
    return torch.tensor(levels, dtype=torch.float64)


def test_a_step_averages_the_slopes_at_both_ends():
    x, start, end = torch.tensor([6.0], dtype=torch.float64), 4.0, 1.0
    first = (6.0 - 0.5 * 6.0) / start
    ahead = 6.0 + (end - start) * first
    second = (ahead - 0.5 * ahead) / end
    made = SOLVER.integrate(lambda x, sigma: 0.5 * x, x, levels(start, end))
    assert made.item() == pytest.approx(6.0 + (end - start) * (first + second) / 2)


def test_alpha_of_a_half_is_the_midpoint_rule():
    seen = []

    def denoise(x, sigma):
        seen.append(float(sigma))
        return 0.5 * x

    made = SOLVER.integrate(denoise, torch.tensor([6.0], dtype=torch.float64), levels(4.0, 1.0), alpha=0.5)
    middle = 6.0 - 1.5 * 0.75
    assert seen == [4.0, 2.5]
    assert made.item() == pytest.approx(6.0 - 3.0 * (0.5 * middle / 2.5))


def test_two_evaluations_a_step_are_counted():
    calls = []
    SOLVER.integrate(lambda x, sigma: calls.append(1) or x, torch.ones(1), levels(8.0, 4.0, 2.0, 1.0))
    assert len(calls) == 3 * SOLVER.evaluations_per_step
