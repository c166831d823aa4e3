from __future__ import annotations

import torch

from cosmos_lidar.models.sparse.spvcnn import SPVCNN
from tests.models.sparse.dense import random_voxels


def test_dropout_is_of_training_alone_and_gradients_reach_the_point_branch() -> None:
    torch.manual_seed(0)
    network = SPVCNN(3, 2)
    x = random_voxels(shape=(40, 40, 20), share=0.02)
    x = x.with_feats(x.feats.detach().float())
    network(x).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


def test_an_empty_second_cloud_changes_nothing() -> None:
    network = SPVCNN(3, 2).eval()
    x = random_voxels(shape=(40, 40, 20), share=0.02, clouds=1)
    feats = x.feats.detach().float()
    alone = type(x)(x.coords, feats)
    both = type(x)(x.coords, feats, clouds=2)
    torch.testing.assert_close(network(both), network(alone))
