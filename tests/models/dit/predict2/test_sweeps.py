"""Sweeps as a condition: a fresh branch leaves the published function as it is and learns; zeros are no sweeps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.dit.predict2.sweeps import PLACE, SweepAttention, token_places
from cosmos_lidar.models.dit.weights import load_dit_weights
from tests.models.dit.predict2.reference import TINY, inputs, tiny_network


def test_it_starts_as_the_published_network_and_is_learned(tmp_path: Path) -> None:
    plain = tiny_network("B")
    torch.save(plain.state_dict(), tmp_path / "model.pt")
    network = build_dit("predict2_2b_multiview", **TINY, sweep_channels=16)
    load_dit_weights(network, tmp_path / "model.pt")
    sweeps = torch.randn(1, 16, 2, 4, 6, generator=torch.Generator().manual_seed(0))
    y = network(**inputs(), sweeps=sweeps)
    assert torch.equal(y, plain(**inputs()))
    y.square().mean().backward()
    branch = network.sweep_attention
    assert bool((branch.to_out.weight.grad != 0).all())
    with torch.no_grad():
        torch.nn.init.normal_(branch.to_out.weight, std=0.3)
        assert torch.equal(network(**inputs(), sweeps=torch.zeros_like(sweeps)), y)
        assert torch.equal(network(**inputs()), y)
        assert float((network(**inputs(), sweeps=sweeps) - y).abs().mean()) > 0.01
    network(**inputs(), sweeps=sweeps).square().mean().backward()
    for name, weight in branch.named_parameters():
        assert bool((weight.grad != 0).any()), name
    with pytest.raises(UserError, match=r"sweeps of shape \(16, 2, 3, 6\): expected \(16, T, h, w\)"):
        network(**inputs(), sweeps=sweeps[..., :3, :])
    with pytest.raises(UserError, match="takes no sweeps"):
        plain(**inputs(), sweeps=sweeps)


@torch.no_grad()
def test_attention_by_the_formula() -> None:
    """One head, no norms of ours: softmax over all tokens of all sweeps, values of their content alone."""
    torch.manual_seed(0)
    branch = SweepAttention(8, 1, 3, 2).double()
    tokens, sweeps = torch.randn(1, 5, 8).double(), torch.randn(1, 3, 2, 4, 2).double()
    places = torch.randn(5, PLACE).double()
    patches = torch.stack([
        sweeps[0, :, t, r : r + 2, :].flatten() for t in (0, 1) for r in (0, 2)
    ])  # fmt: skip
    there = token_places((2, 2, 1), tokens.device).double()
    unit = lambda x: x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()  # noqa: E731
    q = unit(unit(tokens[0]) @ branch.to_query.weight.T + places @ branch.place_query.weight.T)
    k = unit(patches @ branch.to_key.weight.T + there @ branch.place_key.weight.T)
    wanted = (q @ k.T / 8**0.5).softmax(-1) @ (patches @ branch.to_value.weight.T) @ branch.to_out.weight.T
    torch.testing.assert_close(branch(tokens, places, sweeps)[0], wanted)
    part = branch(tokens[:, 2:4], places[2:4], sweeps)  # what a rank computes of its tokens
    torch.testing.assert_close(part[0], wanted[2:4])


def test_places_differ_and_say_when_and_where() -> None:
    places = token_places((3, 2, 5), torch.device("cpu"))
    assert places.shape == (30, PLACE)
    assert len(torch.unique(places, dim=0)) == 30
    left, right = places.view(3, 2, 5, PLACE)[:, :, 1, :], places.view(3, 2, 5, PLACE)[:, :, 2, :]
    assert torch.equal(left[..., :16], right[..., :16])  # sines and cosines of time, then of the row
