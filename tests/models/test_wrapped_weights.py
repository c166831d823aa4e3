"""Weights below the names of wrappers, in several files, and beside options; nothing of a file is run."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.dit.weights import load_dit_weights
from cosmos_lidar.models.tokenizer import load_tokenizer
from cosmos_lidar.models.wrapped_weights import read_weights, unwrap
from tests.models.tokenizer.reference import small_tokenizer


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return small_tokenizer("CI8x8")


def same(path: Path, network: torch.nn.Module) -> bool:
    found, own = load_tokenizer(path).state_dict(), network.state_dict()
    return found.keys() == own.keys() and all(torch.equal(found[name], own[name]) for name in own)


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod.", "model.", "net.module."])
def test_prefixes_of_wrappers_are_taken_off(prefix: str, ending: str, network: torch.nn.Module, tmp_path: Path, caplog):
    caplog.set_level("INFO")
    state, path = {prefix + name: value for name, value in network.state_dict().items()}, tmp_path / f"a.{ending}"
    save_file({name: value.contiguous() for name, value in state.items()}, path) if ending != "pt" else torch.save(
        {"state_dict": state, "epoch": 1}, path
    )
    assert same(path, network)
    assert "names of tensors without" in caplog.text


def test_half_wrapped_files_are_refused_by_the_prefix(network: torch.nn.Module, tmp_path: Path):
    items = enumerate(network.state_dict().items())
    torch.save({("_orig_mod." if k % 2 else "") + name: value for k, (name, value) in items}, tmp_path / "half.pt")
    with pytest.raises(
        DataError, match=r"\d+ of \d+ tensors have the prefix '_orig_mod.', the others have not.*half.pt"
    ):
        load_tokenizer(tmp_path / "half.pt")


def test_parts_compiled_alone():
    state = {"encoder._orig_mod.a": torch.zeros(1), "decoder.b": torch.ones(1)}
    assert list(unwrap(state, Path("a.pt"))) == ["encoder.a", "decoder.b"]
    with pytest.raises(DataError, match="two tensors have one name"):
        unwrap({**state, "encoder.a": torch.zeros(1)}, Path("a.pt"))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.net.", "net.", ""])
def test_diffusion_networks(prefix: str, tmp_path: Path):
    made, other = torch.nn.Linear(3, 4), torch.nn.Linear(3, 4)
    torch.save({"model": {prefix + name: value for name, value in made.state_dict().items()}}, tmp_path / "a.pt")
    load_dit_weights(other, tmp_path / "a.pt")
    assert torch.equal(made.weight, other.weight)


class Evil:
    def __reduce__(self) -> tuple:
        return Path.touch, (Path("touched"),)


def test_options_beside_weights_are_left_out(network: torch.nn.Module, tmp_path: Path, caplog, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = network.state_dict()
    torch.save({"model": state, "args": argparse.Namespace(lr=1e-4)}, tmp_path / "namespace.pt")
    options = {"data": Path("/data"), "lr": np.float64(1e-4)}
    torch.save({"state_dict": state, "hyper_parameters": options}, tmp_path / "path.ckpt")
    torch.save({"model": state, "evil": Evil()}, tmp_path / "evil.pt")
    for name, shown in (("namespace.pt", "argparse.Namespace"), ("path.ckpt", "PosixPath")):
        caplog.clear()
        assert same(tmp_path / name, network)
        assert shown in caplog.text
    with pytest.raises(DataError, match="which may run anything.*its tensors alone: torch.save"):
        load_tokenizer(tmp_path / "evil.pt")
    assert not (tmp_path / "touched").exists()


def test_what_cannot_be_read_says_so_without_control_characters(tmp_path: Path):
    torch.save(argparse.Namespace(a=1), tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(DataError, match="argparse.Namespace") as caught:
        read_weights(tmp_path / "a.pt", "weights")
    assert str(caught.value).isprintable()


def test_safetensors_in_several_files(network: torch.nn.Module, tmp_path: Path):
    state, index = network.state_dict(), tmp_path / "model.safetensors.index.json"
    parts = {f"model-0000{k}-of-00002.safetensors": dict(list(state.items())[k::2]) for k in (0, 1)}
    for name, tensors in parts.items():
        save_file({key: value.contiguous() for key, value in tensors.items()}, tmp_path / name)
    names = {key: name for name, tensors in parts.items() for key in tensors}
    index.write_text(json.dumps({"metadata": {}, "weight_map": names}))
    assert same(tmp_path, network)
    assert same(index, network)
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=f"1 of 2 files that it names are missing, such as {name}"):
        load_tokenizer(index)
    index.write_text(json.dumps({"weight_map": {"a": "../a.safetensors"}}))
    with pytest.raises(DataError, match="names no files beside it"):
        load_tokenizer(index)
