"""Low-rank updates: nothing changes at first, the base is frozen, merged weights give the same numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.deferred import build_deferred
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.dit.lora import (
    LoraLinear,
    adapters,
    add_lora,
    has_lora,
    is_adapters_only,
    merge_lora,
    merge_state,
    split_state,
    unmerge_lora,
    use_adapters,
)
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
            if "lora_B" in name:
                parameter.copy_(0.05 * torch.randn(parameter.shape))


def test_the_formula() -> None:
    base = nn.Linear(6, 5)
    layer = LoraLinear(base)
    layer.add_adapter("default", rank=2, alpha=6.0)
    first, second = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    assert layer.weight is base.weight
    assert layer.bias is base.bias
    x = torch.randn(3, 6)
    assert torch.equal(layer(x), base(x))  # B is zero
    nn.init.normal_(second)
    wanted = x @ (base.weight + 3.0 * second @ first).T + base.bias
    torch.testing.assert_close(layer(x), wanted)
    torch.testing.assert_close(base.weight + layer.update(), base.weight + 3.0 * second @ first)
    assert float(first.detach().abs().max()) <= 6**-0.5


def test_the_base_is_frozen_and_keeps_its_names() -> None:
    plain = network()
    names, before = set(plain.state_dict()), output(plain)
    adapted = add_lora(plain, 4, 8.0, TARGETS)
    assert torch.equal(output(adapted), before)
    new = {".".join(name.split(".")[-3:]) for name in adapted.state_dict().keys() - names}
    assert new == {"lora_A.default.weight", "lora_A.default.scale", "lora_B.default.weight"}
    assert names <= adapted.state_dict().keys()
    trained = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert all(name.endswith(("lora_A.default.weight", "lora_B.default.weight")) for name in trained)
    assert len(trained) == 2 * 2 * (4 + 4 + 2)  # A and B of two blocks: self- and cross-attention, MLP
    output(adapted).square().mean().backward()
    assert all((p.grad is not None) == p.requires_grad for name, p in adapted.named_parameters() if "lora_B" in name)
    assert adapted.parallel_plan() == network().parallel_plan()


def test_merged_is_adapted(tmp_path: Path) -> None:
    adapted = add_lora(network(), 4, 8.0, TARGETS)
    randomize(adapted)
    wanted = output(adapted)
    merged = merge_state(adapted.state_dict())
    plain = network()
    assert merged.keys() == plain.state_dict().keys()
    torch.save({f"net.{name}": tensor for name, tensor in merged.items()}, tmp_path / "merged.pt")
    before = output(plain)
    load_dit_weights(plain, tmp_path / "merged.pt")
    scale = float(wanted.abs().max())
    assert float((output(plain) - wanted).abs().max()) < 1e-6 * scale
    assert float((before - wanted).abs().max()) > 1e-3 * scale  # the updates did something
    assert merge_state(merged) == merged


def test_states_of_updates_alone_are_recognized() -> None:
    state = add_lora(network(), 2, 2.0, ["layer1"]).state_dict()
    assert not is_adapters_only(state)
    assert is_adapters_only({name: tensor for name, tensor in state.items() if "lora" in name})
    assert not is_adapters_only(network().state_dict())


def test_on_the_meta_device_updates_are_drawn_later() -> None:
    torch.manual_seed(0)
    usual = add_lora(build_dit("faditv2_debug"), 4, 8.0, TARGETS)
    torch.manual_seed(0)
    made, sources = build_deferred(lambda: build_dit("faditv2_debug"))
    _, more = build_deferred(lambda: add_lora(made, 4, 8.0, TARGETS))
    assert all(parameter.is_meta for parameter in made.parameters())
    wanted = dict(usual.named_parameters())
    for name, parameter in made.named_parameters():
        source = sources[0] if name in sources[0] else more[0]
        assert torch.equal(source.read(name), wanted[name]), name
        assert parameter.requires_grad == wanted[name].requires_grad


def test_further_modules_are_trained_where_asked() -> None:
    adapted = add_lora(network(), 2, 2.0, "layer1", modules_to_save=["view_embeddings"])
    assert adapted.view_embeddings.weight.requires_grad
    assert not adapted.final_layer.linear.weight.requires_grad
    assert has_lora(adapted)
    with pytest.raises(UserError, match="an adapter 'default' already"):
        add_lora(adapted, 2, 2.0, ["layer1"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": ["q_proj"]}, "model.lora.targets: no layer ends in 'q_proj'; valid: .*block.layer1"),
        ({"targets": ["layer1"], "modules_to_save": ["views"]}, "model.lora.modules_to_save: no layer ends in 'views'"),
    ],
)
def test_names_that_fit_no_layer_are_refused(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        add_lora(network(), rank=2, alpha=2.0, **options)


@torch.no_grad()
def test_merged_and_unmerged_networks_compute_the_same() -> None:
    adapted = add_lora(network(), 4, 8.0)
    randomize(adapted)
    wanted, base = output(adapted), dict(adapted.state_dict())
    scale = float(wanted.abs().max())
    assert merge_lora(adapted) is adapted
    assert adapted.state_dict().keys() == network().state_dict().keys()
    assert not has_lora(adapted)
    assert float((output(adapted) - wanted).abs().max()) < 1e-6 * scale
    assert unmerge_lora(adapted) is adapted
    assert float((output(adapted) - wanted).abs().max()) < 1e-6 * scale
    found = adapted.state_dict()
    assert found.keys() == base.keys()
    assert all(torch.allclose(found[name], base[name], atol=1e-6) for name in base)


@torch.no_grad()
def test_several_adapters_add_up() -> None:
    plain = network()
    before = output(plain)
    add_lora(plain, 2, 4.0, TARGETS, name="rain")
    randomize(plain)
    rain = output(plain)
    add_lora(plain, 3, 3.0, ["to_q.0"], name="rig")
    assert torch.equal(output(plain), rain)  # it starts at zero
    assert all((".rig." in name) == parameter.requires_grad for name, parameter in plain.named_parameters())
    torch.nn.init.normal_(plain.blocks["block0"].blocks[0].block.attn.to_q[0].lora_B["rig"].weight, std=0.1)
    both = output(plain)
    assert not torch.equal(both, rain)
    assert adapters(plain) == ["rain", "rig"]
    use_adapters(plain, ["rain"])
    assert torch.equal(output(plain), rain)
    use_adapters(plain, [])
    assert torch.equal(output(plain), before)
    use_adapters(plain, ["rain", "rig"])
    merged = network()
    merged.load_state_dict(merge_state(plain.state_dict()))
    assert float((output(merged) - both).abs().max()) < 1e-6 * float(both.abs().max())
    with pytest.raises(UserError, match="no adapter 'snow'; valid: rain, rig"):
        use_adapters(plain, ["snow"])


@pytest.mark.parametrize("name", ["faditv2_debug", "predict2_debug_multiview"])
def test_without_targets_attentions_and_mlps_are_adapted(name: str) -> None:
    adapted = add_lora(build_dit(name), 2, 2.0)
    layers = [layer for layer, _ in split_state(adapted.state_dict())[1]]
    assert len(layers) == 2 * (4 + 4 + 2)
    assert not any("modulation" in layer or "embed" in layer or "final" in layer for layer in layers)


def test_the_published_numbers_of_the_multi_view_network() -> None:
    with torch.device("meta"):
        adapted = add_lora(
            build_dit("predict2_2b_multiview"), 16, 16, "q_proj,k_proj,v_proj,output_proj,mlp.layer1,mlp.layer2"
        )
    trained = {name: tuple(p.shape) for name, p in adapted.named_parameters() if p.requires_grad}
    assert len(trained) == 560
    assert sum(p.numel() for p in adapted.parameters() if p.requires_grad) == 22_937_600
    assert trained["blocks.27.cross_attn.k_proj.lora_A.default.weight"] == (16, 1024)
    assert trained["blocks.0.mlp.layer1.lora_B.default.weight"] == (8192, 16)
