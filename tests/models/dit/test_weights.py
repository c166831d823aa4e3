"""Weights of a diffusion transformer from every kind of file that holds them, and from files that do not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.dit.weights import load_dit_weights, open_dit_weights


@pytest.fixture(scope="module")
def source() -> torch.nn.Module:
    torch.manual_seed(1)
    network = build_dit("faditv2_debug")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return network


def write(kind: str, state: dict[str, torch.Tensor], path: Path) -> Path:
    if kind == "safetensors":
        save_file({k: v.contiguous() for k, v in state.items()}, path / "model.safetensors")
        return path / "model.safetensors"
    if kind == "published":
        beside = {"logvar.0.weight": torch.ones(3), "net.blocks.block0.attn_op._extra_state": torch.ones(1)}
        torch.save({"model": {f"net.{k}": v for k, v in state.items()} | beside}, path / "model.pt")
    else:
        torch.save(state, path / "model.pt", _use_new_zipfile_serialization=kind != "old zip")
    return path / "model.pt"


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("kind", ["safetensors", "published", "plain", "old zip"])
def test_every_kind_of_file_fills_the_network(kind: str, device: str, source: torch.nn.Module, tmp_path: Path):
    file = write(kind, source.state_dict(), tmp_path)
    with torch.device(device):
        network = build_dit("faditv2_debug")
    load_dit_weights(network, file)
    found = network.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in source.state_dict().items())


def test_other_weights_are_refused_and_nothing_is_changed(source: torch.nn.Module, tmp_path: Path):
    network = build_dit("faditv2_debug")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = source.state_dict()
    first = "final_layer.linear.weight"

    def refused(changed: dict[str, torch.Tensor], message: str) -> None:
        with pytest.raises(DataError, match=message) as caught:
            load_dit_weights(network, write("plain", changed, tmp_path))
        assert "weights of a GeneralDiT of the same shape" in str(caught.value)

    refused({k: v for k, v in state.items() if k != first}, rf"1 weights missing \(\['{first}'\]\), 0 unknown")
    refused(state | {"stranger": torch.ones(1)}, r"0 weights missing \(\[\]\), 1 unknown \(\['stranger'\]\)")
    refused(state | {first: torch.ones(2, 3)}, rf"shape \(2, 3\) instead of \(64, 96\).*key {first}")
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(DataError, match=r"not a checkpoint that is safe to read.*text\.pt"):
        load_dit_weights(network, tmp_path / "text.pt")
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    with pytest.raises(DataError, match=r"holds a list.*list\.pt"):
        load_dit_weights(network, tmp_path / "list.pt")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def same(source: torch.nn.Module, path: Path, ema: bool = False, factor: float = 1.0) -> bool:
    network = build_dit("faditv2_debug")
    load_dit_weights(network, path, ema=ema)
    found = network.state_dict()
    return all(torch.equal(value * factor, found[name]) for name, value in source.state_dict().items())


def test_safetensors_in_several_files(source: torch.nn.Module, tmp_path: Path):
    state, index = source.state_dict(), tmp_path / "model.safetensors.index.json"
    parts = {f"model-0000{k}-of-00002.safetensors": dict(list(state.items())[k::2]) for k in (0, 1)}
    for name, tensors in parts.items():
        save_file({key: value.contiguous() for key, value in tensors.items()}, tmp_path / name)
    index.write_text(json.dumps({"weight_map": {key: name for name, tensors in parts.items() for key in tensors}}))
    assert same(source, index)
    assert same(source, tmp_path)
    network = build_dit("faditv2_debug")
    assert torch.equal(open_dit_weights(network, index).read(next(iter(state))), next(iter(state.values())))
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / name)
    with pytest.raises(DataError, match="an earlier file has this tensor, too"):
        load_dit_weights(network, index)
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=f"1 of 2 files that it names are missing, such as {name}"):
        load_dit_weights(network, index)
    index.unlink()
    with pytest.raises(DataError, match="a folder with one index"):
        load_dit_weights(network, tmp_path)


@pytest.mark.parametrize("prefix", ["net_ema.", "module.ema_model.", "ema."])
def test_weights_and_ema_weights_of_one_file(prefix: str, source: torch.nn.Module, tmp_path: Path):
    state, file = source.state_dict(), tmp_path / "model.pt"
    torch.save({f"net.{k}": v for k, v in state.items()} | {f"{prefix}{k}": v * 2 for k, v in state.items()}, file)
    assert same(source, file)
    assert same(source, file, ema=True, factor=2.0)
    torch.save({f"{prefix}{k}": v * 2 for k, v in state.items()}, file)
    assert same(source, file, factor=2.0)
    torch.save(state, file)
    with pytest.raises(DataError, match="holds no EMA weights"):
        load_dit_weights(build_dit("faditv2_debug"), file, ema=True)
