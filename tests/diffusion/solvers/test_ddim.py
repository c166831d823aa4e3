import pytest
import torch

from cosmos_lidar.diffusion.solvers.ddim import SOLVER


def test_each_step_holds_the_prediction_of_its_start():
    schedule = torch.tensor([8.0, 4.0, 1.0], dtype=torch.float64)
    x = 10.0
    for start, end in ((8.0, 4.0), (4.0, 1.0)):
        clean = 0.5 * x + 1.0
        x = clean + end / start * (x - clean)
    made = SOLVER.integrate(lambda x, sigma: 0.5 * x + 1.0, torch.tensor([10.0], dtype=torch.float64), schedule)
    assert made.item() == pytest.approx(x)


def test_one_evaluation_a_step_is_counted():
    calls = []
    schedule = torch.tensor([8.0, 4.0, 2.0, 1.0], dtype=torch.float64)
    SOLVER.integrate(lambda x, sigma: calls.append(float(sigma)) or x, torch.ones(1, dtype=torch.float64), schedule)
    assert calls == [8.0, 4.0, 2.0]
    assert SOLVER.evaluations_per_step == 1
