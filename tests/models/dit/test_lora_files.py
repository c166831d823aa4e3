"""Adapter files in PEFT's names: they come back as they were, and only onto the network that they belong to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.dit.lora import add_lora
from cosmos_lidar.models.dit.lora_files import CONFIG, TENSORS, load_lora, read_adapter, save_lora
from tests.models.dit.test_lora import network, output, randomize


@pytest.fixture
def adapted() -> nn.Module:
    made = add_lora(network(), 4, 8.0, ["to_q.0", "layer1"], modules_to_save=["view_embeddings"])
    randomize(made)
    with torch.no_grad():
        made.view_embeddings.weight.add_(0.5)
    return made


@torch.no_grad()
def test_an_adapter_alone_comes_back(adapted: nn.Module, tmp_path: Path) -> None:
    paths = save_lora(adapted, tmp_path / "rain", base="faditv2_debug")
    assert [path.name for path in paths] == [TENSORS, CONFIG]
    tensors = load_file(tmp_path / "rain" / TENSORS)
    assert len(tensors) == 2 * 2 * (2 + 1) + 1  # two factors; two blocks, each with two attentions and an MLP
    assert "base_model.model.blocks.block0.blocks.0.block.attn.to_q.0.lora_A.weight" in tensors
    assert "base_model.model.view_embeddings.weight" in tensors
    settings = json.loads((tmp_path / "rain" / CONFIG).read_text())
    assert (settings["peft_type"], settings["r"], settings["lora_alpha"]) == ("LORA", 4, 8.0)
    assert settings["modules_to_save"] == ["view_embeddings"]
    other = load_lora(network(), tmp_path / "rain")
    assert torch.equal(output(other), output(adapted))
    randomize(other)
    assert torch.equal(output(load_lora(other, tmp_path / "rain" / TENSORS)), output(adapted))  # over the one there is
    load_lora(other, tmp_path / "rain", name="again")
    assert not torch.allclose(output(other), output(adapted))  # both are in use


def test_weights_in_bf16_are_the_same_base(adapted: nn.Module, tmp_path: Path) -> None:
    save_lora(adapted, tmp_path / "rain")
    load_lora(network().to(torch.bfloat16), tmp_path / "rain")


def test_another_base_or_rank_is_refused_by_name(adapted: nn.Module, tmp_path: Path) -> None:
    save_lora(adapted, tmp_path / "rain", base="my base")
    other = network()
    with torch.no_grad():
        other.final_layer.linear.weight.mul_(1.5)
    with pytest.raises(DataError, match="trained on weights with fingerprint .* these have .*'my base'"):
        load_lora(other, tmp_path / "rain")
    with pytest.raises(DataError, match="rank 4, the network's adapter 'default' has rank 2"):
        load_lora(add_lora(network(), 2, 2.0, ["layer1"]), tmp_path / "rain")
    with pytest.raises(DataError, match="other layers than the network's adapter.*to_q"):
        load_lora(add_lora(network(), 4, 2.0, ["layer1"]), tmp_path / "rain")
    wider = nn.ModuleDict({"block0": nn.Linear(3, 3)})
    with pytest.raises(DataError, match="the network has no such layer"):
        load_lora(wider, tmp_path / "rain")
    with pytest.raises(ValueError, match="no adapter 'snow'"):
        save_lora(adapted, tmp_path / "snow", "snow")


def test_damaged_files_name_what_is_wrong(adapted: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing.*adapter_config.json"):
        read_adapter(tmp_path)
    tensors, config = save_lora(adapted, tmp_path)
    settings, state = json.loads(config.read_text()), load_file(tensors)
    for change, message in (
        ({"use_dora": True}, "use_dora"),
        ({"r": 5}, r"factors of shapes \(4, 96\) and \(.*, 4\).*rank 5"),
        ({"r": "4"}, "r='4'"),
    ):
        config.write_text(json.dumps(settings | change))
        with pytest.raises(DataError, match=message):
            read_adapter(tmp_path)
    config.write_text(json.dumps(settings))
    first = next(name for name in state if name.endswith("lora_B.weight"))
    del state[first]
    save_file(state, tensors)
    with pytest.raises(DataError, match="no pair of matrices"):
        read_adapter(tmp_path)
    tensors.write_bytes(b"x" * 100)
    with pytest.raises(DataError, match="not a safetensors file"):
        read_adapter(tmp_path)
