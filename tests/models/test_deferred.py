"""Deferred initialization gives the numbers of the constructor, and consumes as many."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from cosmos_lidar.losses.adversarial import PatchDiscriminator
from cosmos_lidar.models.deferred import build_deferred
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.tokenizer import build_tokenizer


class Unusual(nn.Module):
    """Initializers that look at values, set parts, share parameters, or give values at once."""

    def __init__(self) -> None:
        super().__init__()
        self.truncated = nn.Parameter(torch.empty(40, 30))
        nn.init.trunc_normal_(self.truncated, std=0.02)
        self.orthogonal = nn.Parameter(torch.empty(8, 8))
        nn.init.orthogonal_(self.orthogonal)
        self.drawn = nn.Parameter(torch.randn(5))
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 5)
        self.second.weight = self.first.weight
        self.table = nn.Embedding(7, 5, padding_idx=2)
        self.register_buffer("noise", torch.randn(3), persistent=False)
        with torch.no_grad():
            self.first.weight[1:3] *= 2
            self.first.bias.copy_(torch.arange(5.0))


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "unusual": Unusual,
    "transformer": lambda: build_dit("faditv2_debug"),
    "transformer of a flow": lambda: build_dit("predict2_debug_multiview", crossattn_proj_in_channels=12),
    "image tokenizer": lambda: build_tokenizer("CI8x8", channels=32, num_res_blocks=1),
    "discrete image tokenizer": lambda: build_tokenizer("DI8x8", channels=32, num_res_blocks=1),
    "video tokenizer": lambda: build_tokenizer("CV8x8x8", channels=32, num_res_blocks=1),
    "discrete video tokenizer": lambda: build_tokenizer("DV8x16x16", channels=32, num_res_blocks=1),
    "discriminator": lambda: PatchDiscriminator(16, 2),
    "normalized": lambda: nn.Sequential(nn.Conv3d(3, 4, 3), nn.BatchNorm3d(4), nn.MultiheadAttention(8, 2)),
}


@pytest.mark.parametrize("kind", BUILDERS)
def test_the_numbers_are_those_of_the_constructor(kind: str) -> None:
    torch.manual_seed(3)
    usual, state = BUILDERS[kind](), None
    state = torch.get_rng_state()
    torch.manual_seed(3)
    network, (weights,) = build_deferred(BUILDERS[kind])
    assert torch.equal(torch.get_rng_state(), state)
    own = dict(network.named_parameters(remove_duplicate=False))
    assert sum(parameter.is_meta for parameter in own.values()) >= len(own) - 2
    torch.manual_seed(4)
    drawn = torch.get_rng_state()
    for name, wanted in reversed(list(usual.named_parameters(remove_duplicate=False))):  # in any order
        found = weights.read(name) if own[name].is_meta else own[name]
        assert torch.equal(found, wanted), name
        assert own[name].requires_grad == wanted.requires_grad
    assert torch.equal(torch.get_rng_state(), drawn)
    for name, wanted in usual.named_buffers():
        assert torch.equal(network.get_buffer(name), wanted), name


def test_shared_parameters_stay_shared() -> None:
    network, _ = build_deferred(Unusual)
    assert network.first.weight is network.second.weight


@pytest.mark.parametrize("kind", ["reads values", "own generator", "referred to"])
def test_what_cannot_be_recorded_is_built_as_usual(kind: str) -> None:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.empty(4, 4))
            nn.init.normal_(self.weight)
            if kind == "reads values":
                self.register_buffer("norm", self.weight.detach().norm())
            elif kind == "own generator":
                nn.init.normal_(self.weight, generator=torch.Generator().manual_seed(1))

    build = (lambda: nn.LSTM(4, 5)) if kind == "referred to" else Layer
    torch.manual_seed(3)
    usual, state = build(), torch.get_rng_state()
    torch.manual_seed(3)
    network, weights = build_deferred(build)
    assert weights == []
    assert torch.equal(torch.get_rng_state() if kind != "own generator" else state, state)
    for name, wanted in usual.state_dict().items():
        assert torch.equal(network.state_dict()[name], wanted)


def test_without_drawing_no_random_number_is_consumed() -> None:
    before = torch.get_rng_state()
    network, _ = build_deferred(lambda: build_dit("faditv2_debug"), draw=False)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.is_meta for parameter in network.parameters())
    assert torch.equal(network.pos_embedder.seq, build_dit("faditv2_debug").pos_embedder.seq)
