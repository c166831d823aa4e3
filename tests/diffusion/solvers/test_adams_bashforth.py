import math

import pytest
import torch

from cosmos_lidar.diffusion.solvers.adams_bashforth import advance

A, B = 2.0, -0.7


def level(sigma: float) -> torch.Tensor:
    return torch.tensor(sigma, dtype=torch.float64)


def predicted(sigma: float) -> torch.Tensor:
    """A prediction that is linear in lambda = -ln sigma."""
    return level(A - B * math.log(sigma))


@pytest.mark.parametrize(("before", "sigma", "target"), [(8.0, 4.0, 2.0), (9.0, 4.0, 0.5)])
def test_a_prediction_linear_in_lambda_is_followed_exactly(before: float, sigma: float, target: float):
    """dx / d lambda = x0 - x has the solution A + B lambda - B + C e^-lambda."""
    paths = [predicted(at) - B + 3.0 * at for at in (sigma, target)]
    made = advance(paths[0], predicted(sigma), level(sigma), level(target), (predicted(before), level(before)))
    assert made.item() == pytest.approx(paths[1].item(), rel=1e-12)


def test_the_first_step_holds_the_prediction():
    made = advance(level(10.0), level(2.0), level(4.0), level(1.0), None)
    assert made.item() == pytest.approx(2.0 + 0.25 * 8.0)
