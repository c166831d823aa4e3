from __future__ import annotations

import torch

from cosmos_lidar.models.sparse.minkunet import MinkUNet
from tests.models.sparse.dense import random_voxels


def test_strides_channels_and_numbers_of_blocks() -> None:
    network = MinkUNet(3, 7, "minkunet34")
    x = random_voxels(shape=(40, 40, 20), share=0.02)
    features = network.eval().encode(x.with_feats(x.feats.detach().float()))
    assert [one.stride[0] for one in features] == [1, 2, 4, 8, 16]
    assert [one.feats.shape[1] for one in features] == [32, 32, 64, 128, 256]
    assert [len(getattr(network, f"stage{step}")) - 1 for step in range(1, 5)] == [2, 3, 4, 6]


def test_every_parameter_gets_a_gradient() -> None:
    torch.manual_seed(0)
    network = MinkUNet(3, 2, "minkunet18sc")
    x = random_voxels(shape=(40, 40, 20), share=0.02)
    network(x.with_feats(x.feats.detach().float())).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())
    assert all(parameter.grad.any() for name, parameter in network.named_parameters() if name.endswith("kernel"))


def test_the_plan_names_modules_in_the_order_of_the_forward_pass() -> None:
    network, called = MinkUNet(3, 2, "minkunet18").eval(), []
    for name in network.parallel_plan().blocks:
        network.get_submodule(name).register_forward_hook(lambda *_, name=name: called.append(name))
    x = random_voxels(shape=(40, 40, 20), share=0.02)
    network(x.with_feats(x.feats.detach().float()))
    assert tuple(called) == network.parallel_plan().blocks
