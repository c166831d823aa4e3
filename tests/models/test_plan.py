"""What networks say of themselves: every name in a plan is a module of the network, and of the right kind."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.tokenizer import build_tokenizer

NETWORKS = {
    "dit": lambda: build_dit("faditv2_debug"),
    "predict2": lambda: build_dit("predict2_debug_multiview"),
    "dit without text": lambda: build_dit("faditv2_debug", cross_attention=False),
    "CI8x8": lambda: build_tokenizer("CI8x8", channels=32),
    "CV8x8x8": lambda: build_tokenizer("CV8x8x8", channels=32),
}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> nn.Module:
    with torch.device("meta"):
        return NETWORKS[request.param]()


def test_names_of_a_plan_are_modules_of_its_network(network: nn.Module):
    plan, modules = network.parallel_plan(), dict(network.named_modules())
    assert plan.blocks
    for name in (*plan.blocks, *plan.units, *plan.attention, *plan.head_norms, *plan.column, *plan.row):
        assert name in modules, name
    assert all(isinstance(modules[name], nn.Linear) for name in (*plan.column, *plan.row))
    assert all(callable(modules[name].attend) for name in plan.attention)
    assert all(callable(getattr(network, method)) for method in plan.methods)
    assert len(set(plan.blocks)) == len(plan.blocks)
    assert plan.context in ("", "sequence", "width")


def test_units_do_not_overlap(network: nn.Module):
    """Weights that are gathered together belong to one unit: none lies inside another."""
    plan = network.parallel_plan()
    units = plan.units or plan.blocks
    assert not [(a, b) for a in units for b in units if b.startswith(f"{a}.")]


@pytest.mark.parametrize("name", ["dit", "dit without text"])
def test_split_layers_divide_by_heads(name: str):
    with torch.device("meta"):
        network = NETWORKS[name]()
    plan, modules = network.parallel_plan(), dict(network.named_modules())
    assert plan.heads == network.config.num_heads
    assert all(modules[column].out_features % plan.heads == 0 for column in plan.column)
    assert all(modules[row].in_features % plan.heads == 0 for row in plan.row)
