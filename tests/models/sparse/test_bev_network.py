from __future__ import annotations

import torch

from cosmos_lidar.models.sparse.bev_network import BevNetwork


def test_size_stays_and_an_output_depends_on_its_surroundings_alone() -> None:
    torch.manual_seed(0)
    network = BevNetwork(8).eval()
    x = torch.randn(1, 8, 64, 32)
    changed = x.clone()
    changed[..., 0, 0] += 1
    with torch.no_grad():
        out, other = network(x), network(changed)
    assert out.shape == (1, 512, 64, 32)
    reach = 2 * 6 + 6 + 1  # six 3x3 convolutions at stride 2 after six at stride 1
    assert not torch.equal(out[..., 0, 0], other[..., 0, 0])
    torch.testing.assert_close(out[..., reach + 1 :, :], other[..., reach + 1 :, :])


def test_constants_of_batch_norm() -> None:
    norms = [module for module in BevNetwork(8).modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert len(norms) == 14
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}
