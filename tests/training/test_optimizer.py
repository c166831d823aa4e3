"""AdamW of the trained parameters: which decay, and what a step changes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cosmos_lidar.training.config import OptimConfig
from cosmos_lidar.training.optimizer import make_optimizer, parameter_groups


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 3).requires_grad_(False), nn.Linear(3, 2))


def test_biases_stand_apart_where_they_do_not_decay() -> None:
    last = (made := network())[1]
    (group,) = parameter_groups(made, decay_biases=True)
    assert [id(parameter) for parameter in group["params"]] == [id(last.weight), id(last.bias)]
    weights, biases = parameter_groups(made, decay_biases=False)
    assert [id(parameter) for parameter in weights["params"]] == [id(last.weight)]
    assert [id(parameter) for parameter in biases["params"]] == [id(last.bias)]
    assert (weights.get("weight_decay"), biases["weight_decay"]) == (None, 0.0)


def test_a_first_step_is_that_of_the_formula_and_the_rate_follows_the_schedule() -> None:
    """The first update of Adam is the sign of the gradient; decay comes off the weights beside it."""
    made, config = network(), OptimConfig(lr=0.5, weight_decay=0.1, decay_biases=False, warmup_steps=4)
    optimizer, schedule = make_optimizer(made, config)
    before = {name: value.clone() for name, value in made.named_parameters()}
    made(torch.tensor([[1.0, -2.0]])).square().sum().backward()
    optimizer.step()
    schedule.step()
    rate = 0.5 / 4
    for name in ("0.weight", "0.bias"):
        assert torch.equal(made.get_parameter(name), before[name])
    for name, decay in (("1.weight", 0.1), ("1.bias", 0.0)):
        parameter = made.get_parameter(name)
        assert parameter.grad is not None
        expected = before[name] * (1 - rate * decay) - rate * parameter.grad.sign()
        torch.testing.assert_close(parameter, expected, atol=1e-5, rtol=0)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.25, 0.25])
