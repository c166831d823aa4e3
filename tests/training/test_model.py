"""The optimizer of a model: what it updates, and at which rate."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

pytest.importorskip("nemo")

from cosmos_lidar.recipes.dit import debug
from cosmos_lidar.training.model import TrainedModel
from cosmos_lidar.training.overrides import apply_overrides


def test_the_optimizer_has_the_trained_parameters_at_the_rate_of_the_schedule(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(2, 2).requires_grad_(False), nn.Linear(2, 2))
    options = ["optim.lr=0.5", "optim.warmup_steps=4", "optim.weight_decay=0.1"]
    made = TrainedModel(apply_overrides(debug(), options), network, tmp_path).configure_optimizers()
    (group,) = made["optimizer"].param_groups
    assert [id(parameter) for parameter in group["params"]] == [id(parameter) for parameter in network[1].parameters()]
    assert group["weight_decay"] == 0.1
    rates = []
    for _ in range(6):
        rates.append(group["lr"])
        made["optimizer"].step()
        made["lr_scheduler"]["scheduler"].step()
    assert rates == [0.125, 0.25, 0.375, 0.5, 0.5, 0.5]
