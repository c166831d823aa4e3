import math

import pytest
import torch

from cosmos_lidar.diffusion.solvers.dpm_2m import advance


def level(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize(("before", "sigma", "target"), [(8.0, 4.0, 2.0), (9.0, 4.0, 0.5)])
def test_the_prediction_is_extrapolated_to_the_middle_of_the_step(before: float, sigma: float, target: float):
    predicted = {at: 2.0 + 0.7 * math.log(at) for at in (before, sigma, math.sqrt(sigma * target))}
    middle, x = predicted[math.sqrt(sigma * target)], 5.0
    made = advance(
        level(x), level(predicted[sigma]), level(sigma), level(target), (level(predicted[before]), level(before))
    )
    assert made.item() == pytest.approx(middle + target / sigma * (x - middle), rel=1e-12)


def test_the_first_step_holds_the_prediction():
    made = advance(level(10.0), level(2.0), level(4.0), level(1.0), None)
    assert made.item() == pytest.approx(2.0 + 0.25 * 8.0)
