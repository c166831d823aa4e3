from __future__ import annotations

import pytest
import torch

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.lidargen.canvas import CanvasLayout
from cosmos_lidar.models.deferred import build_deferred
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.dit.alignment import add_alignment, without_alignment
from cosmos_lidar.parallel.materialize import with_weights

LAYOUT = CanvasLayout(lidar=(6, 12), image=(8, 10), views=1)


@pytest.mark.parametrize("dense", [False, True])
def test_the_tokens_of_the_range_map_are_projected(dense: bool) -> None:
    torch.manual_seed(0)
    network = build_dit("faditv2_debug", n_views=2, cross_attention=False)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    grid, row = LAYOUT.lidar_tokens(dense)
    assert (grid, row) == ((3, 6), 6)
    x, options = torch.randn(2, 16, 2, 8, 12), {"kept": LAYOUT.kept()} if dense else {}
    plain = network(x, torch.zeros(2), None, **options)
    add_alignment(network, 1, channels=5, hidden=7, grid=grid, row_tokens=row)
    kept: list[torch.Tensor] = []
    hook = network.blocks["block0"].register_forward_hook(lambda module, inputs, output: kept.append(output))
    assert torch.equal(network(x, torch.zeros(2), None, **options), plain)
    hook.remove()
    tokens = kept[0]
    place = LAYOUT.kept().tolist() if dense else list(range(tokens.shape[1]))  # of each token on the canvas
    found = network.alignment.take()
    assert found.shape == (2, 3, 6, 5)
    for r in range(3):
        for c in range(6):
            assert torch.allclose(
                found[:, r, c], network.alignment.layers(tokens[:, place.index(6 * r + c)]), atol=1e-6
            )
    with pytest.raises(RuntimeError, match="no forward pass"):
        network.alignment.take()
    names = set(without_alignment(network.state_dict()))
    assert set(network.state_dict()) - names == {
        f"alignment.layers.{n}.{kind}" for n in (0, 2, 4) for kind in ("weight", "bias")
    }


def test_a_head_of_a_network_on_the_meta_device() -> None:
    network, weights = build_deferred(lambda: build_dit("faditv2_debug", n_views=1))
    head = build_deferred(lambda: add_alignment(network, 2, 4, 8, (2, 2), 2))[1]
    made = with_weights(network, [*weights, *head])
    assert made.alignment.layers[0].weight.std() > 0
    assert made.alignment.block == list(made.blocks)[1]
    with pytest.raises(UserError, match=r"model.alignment.block=3: the network has 2 blocks; valid: 1 to 2"):
        add_alignment(network, 3, 4, 8, (2, 2), 2)
