"""Apex's AdamW beside torch's: the same updates, the same state, shards."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
import torch.distributed as dist
from torch import nn

from cosmos_lidar.errors import UserError
from cosmos_lidar.training.fused_adamw import FusedAdamW
from tests.kernels.contract import check_adamw
from tests.kernels.test_apex_ops import apex as apex  # the stand-in

SETTINGS = {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.05}


def train(network: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for step in range(steps):
        x = torch.linspace(-1, 1, 12).view(3, 4) + step
        network(x).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def make() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 2, bias=False))


def test_torch_is_held_to_the_same_formula() -> None:
    check_adamw(torch.optim.AdamW, torch.device("cpu"))


def test_a_state_goes_from_one_to_the_other(apex: ModuleType) -> None:
    networks = make(), make()
    theirs = torch.optim.AdamW(networks[0].parameters(), **SETTINGS)
    train(networks[0], theirs, 4)
    ours = FusedAdamW(networks[1].parameters(), **SETTINGS)
    train(networks[1], ours, 2)
    other = torch.optim.AdamW(networks[1].parameters(), **SETTINGS)
    for parameter, state in ours.state.items():
        other.state[parameter] = {**state, "step": state["step"].clone()}
        assert list(state) == ["step", "exp_avg", "exp_avg_sq"]
        assert state["step"] == 2
    for step in (2, 3):
        x = torch.linspace(-1, 1, 12).view(3, 4) + step
        networks[1](x).square().sum().backward()
        other.step()
        other.zero_grad()
    for found, wanted in zip(networks[1].parameters(), networks[0].parameters(), strict=True):
        torch.testing.assert_close(found, wanted)


def test_parameters_without_gradient_stay(apex: ModuleType) -> None:
    network = make()
    before = network[0].weight.detach().clone()
    network[0].requires_grad_(False)
    optimizer = FusedAdamW(network.parameters(), **SETTINGS)
    train(network, optimizer, 1)
    assert torch.equal(network[0].weight, before)
    assert list(optimizer.state) == [network[2].weight]


def test_shards_are_updated_in_place(apex: ModuleType) -> None:
    """FSDP's parameters, whose shards the kernel sees as plain tensors."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    whole, sharded = make(), make()
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        fully_shard(sharded, mesh=init_device_mesh("cpu", (1,)))
        for network in (whole, sharded):
            train(network, FusedAdamW(network.parameters(), **SETTINGS), 2)
        for found, wanted in zip(sharded.parameters(), whole.parameters(), strict=True):
            torch.testing.assert_close(found.full_tensor(), wanted)
    finally:
        dist.destroy_process_group()


def test_other_types_are_refused() -> None:
    with pytest.raises(UserError, match="optimizer=apex: parameters of torch.bfloat16; valid: torch.float32"):
        FusedAdamW([nn.Parameter(torch.zeros(2, dtype=torch.bfloat16))], **SETTINGS)
