"""Low-rank updates: nothing changes at first, the base is frozen, merged weights give the same numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.deferred import build_deferred
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.dit.lora import LoraLinear, add_lora, has_lora, is_adapters_only, merge_lora
from cosmos_lidar.models.dit.weights import load_dit_weights

TARGETS = ["to_q.0", "to_k.0", "to_v.0", "to_out.0", "layer1", "layer2"]


def network() -> nn.Module:
    torch.manual_seed(0)
    made = build_dit("faditv2_debug", n_views=2)
    with torch.no_grad():
        for parameter in made.parameters():  # the branches that start at zero hide errors
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made


def output(made: nn.Module) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    x, text = torch.randn(2, 16, 2, 8, 8, generator=generator), torch.randn(2, 6, 64, generator=generator)
    return made(x, torch.tensor([0.1, -0.4]), text)


def randomize(made: nn.Module) -> None:
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith("lora_B"):
                parameter.copy_(0.05 * torch.randn(parameter.shape))


def test_the_formula() -> None:
    base = nn.Linear(6, 5)
    layer = LoraLinear(base, rank=2, alpha=6.0)
    assert layer.weight is base.weight
    assert layer.bias is base.bias
    x = torch.randn(3, 6)
    assert torch.equal(layer(x), base(x))  # B is zero
    nn.init.normal_(layer.lora_B)
    wanted = x @ (base.weight + 3.0 * layer.lora_B @ layer.lora_A).T + base.bias
    torch.testing.assert_close(layer(x), wanted)
    assert float(layer.lora_A.abs().max()) <= 6**-0.5


def test_the_base_is_frozen_and_keeps_its_names() -> None:
    plain = network()
    names, before = set(plain.state_dict()), output(plain)
    adapted = add_lora(plain, TARGETS, rank=4, alpha=8.0)
    assert torch.equal(output(adapted), before)
    new = {name.rpartition(".")[2] for name in adapted.state_dict().keys() - names}
    assert new == {"lora_A", "lora_B", "lora_scale"}
    assert names <= adapted.state_dict().keys()
    trained = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert all(name.endswith(("lora_A", "lora_B")) for name in trained)
    assert len(trained) == 2 * 2 * (4 + 4 + 2)  # A and B of two blocks: self- and cross-attention, MLP
    output(adapted).square().mean().backward()
    assert all((p.grad is not None) == p.requires_grad for name, p in adapted.named_parameters() if "lora_B" in name)
    assert adapted.parallel_plan() == network().parallel_plan()


def test_merged_is_adapted(tmp_path: Path) -> None:
    adapted = add_lora(network(), TARGETS, rank=4, alpha=8.0)
    randomize(adapted)
    wanted = output(adapted)
    merged = merge_lora(adapted.state_dict())
    plain = network()
    assert merged.keys() == plain.state_dict().keys()
    torch.save({f"net.{name}": tensor for name, tensor in merged.items()}, tmp_path / "merged.pt")
    before = output(plain)
    load_dit_weights(plain, tmp_path / "merged.pt")
    scale = float(wanted.abs().max())
    assert float((output(plain) - wanted).abs().max()) < 1e-6 * scale
    assert float((before - wanted).abs().max()) > 1e-3 * scale  # the updates did something
    assert merge_lora(merged) == merged


def test_states_of_updates_alone_are_recognized() -> None:
    state = add_lora(network(), ["layer1"], rank=2, alpha=2.0).state_dict()
    assert not is_adapters_only(state)
    assert is_adapters_only({name: tensor for name, tensor in state.items() if "lora" in name})
    assert not is_adapters_only(network().state_dict())


def test_on_the_meta_device_updates_are_drawn_later() -> None:
    torch.manual_seed(0)
    usual = add_lora(build_dit("faditv2_debug"), TARGETS, rank=4, alpha=8.0)
    torch.manual_seed(0)
    made, sources = build_deferred(lambda: build_dit("faditv2_debug"))
    _, more = build_deferred(lambda: add_lora(made, TARGETS, rank=4, alpha=8.0))
    assert all(parameter.is_meta for parameter in made.parameters())
    wanted = dict(usual.named_parameters())
    for name, parameter in made.named_parameters():
        source = sources[0] if name in sources[0] else more[0]
        assert torch.equal(source.read(name), wanted[name]), name
        assert parameter.requires_grad == wanted[name].requires_grad


def test_further_modules_are_trained_where_asked() -> None:
    adapted = add_lora(network(), ["layer1"], rank=2, alpha=2.0, also_trained=["view_embeddings"])
    assert adapted.view_embeddings.weight.requires_grad
    assert not adapted.final_layer.linear.weight.requires_grad
    assert has_lora(adapted)
    with pytest.raises(ValueError, match="already"):
        add_lora(adapted, ["layer1"], rank=2, alpha=2.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": ["q_proj"]}, "model.lora.targets: no layer ends in 'q_proj'; valid: .*block.layer1"),
        ({"targets": ["layer1"], "also_trained": ["views"]}, "model.lora.also_trained: no layer ends in 'views'"),
    ],
)
def test_names_that_fit_no_layer_are_refused(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        add_lora(network(), rank=2, alpha=2.0, **options)
