"""Files of weights: as published, wrapped, by Diffusers' names; and those that do not fit."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.wan_vae import build_vae, load_vae, load_vae_weights
from cosmos_lidar.models.wan_vae.diffusers_names import diffusers_names
from tests.models.wan_vae.reference import VECTORS, difference, small_vae, video


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return small_vae().state_dict()


def test_published_file(tmp_path: Path, state: dict):
    torch.save(state, tmp_path / "tokenizer.pth")
    vae = load_vae(tmp_path / "tokenizer.pth")
    assert not vae.training
    assert not any(parameter.requires_grad for parameter in vae.parameters())
    assert difference(vae.encode(video(5)), VECTORS["z_T5"]) < 2e-5
    assert load_vae(tmp_path / "tokenizer.pth", dim=8, dtype=torch.bfloat16).conv1.weight.dtype == torch.bfloat16


@pytest.mark.parametrize("kind", ["module.", "model.", "_orig_mod.", "state_dict", "safetensors", "diffusers", "bf16"])
def test_other_ways_to_store_the_same_weights(tmp_path: Path, state: dict, kind: str):
    path, content = tmp_path / "vae.pth", dict(state)
    if kind.endswith("."):
        content = {f"{kind}{name}": value for name, value in state.items()}
    if kind == "diffusers":
        names = diffusers_names(build_vae("wan2_1", dim=8).config)
        content = {names[name]: value for name, value in state.items()}
    if kind == "bf16":
        content = {name: value.bfloat16() for name, value in state.items()}
    if kind in ("safetensors", "diffusers"):
        path = tmp_path / "vae.safetensors"
        save_file(content, path)
    else:
        torch.save({"state_dict": content, "epoch": 3} if kind == "state_dict" else content, path)
    vae = build_vae("wan2_1", dim=8)
    load_vae_weights(vae, path)
    for found in (vae, load_vae(path)):
        for name, value in found.state_dict().items():
            assert value.dtype == torch.float32
            assert torch.equal(value, content[name].float() if kind == "bf16" else state[name])


def test_a_vae_of_another_width_is_refused_by_name(tmp_path: Path, state: dict):
    torch.save(state, tmp_path / "vae.pth")
    with pytest.raises(DataError, match=r"a VAE of width 8 .*vae.pth.*Expected: width 96 \(the published one\)"):
        load_vae(tmp_path / "vae.pth", dim=96)
    vae = build_vae("wan2_1", dim=4)
    before = vae.conv1.weight.clone()
    with pytest.raises(DataError, match="a VAE of width 8.*Expected: width 4"):
        load_vae_weights(vae, tmp_path / "vae.pth")
    assert torch.equal(vae.conv1.weight, before)


def test_missing_and_unexpected_tensors_are_named(tmp_path: Path, state: dict):
    path = tmp_path / "vae.pth"
    fewer = {name: value for name, value in state.items() if name != "decoder.middle.1.proj.bias"}
    torch.save({**fewer, "decoder.extra": torch.zeros(1)}, path)
    with pytest.raises(DataError, match="1 missing: decoder.middle.1.proj.bias; 1 unexpected: decoder.extra"):
        load_vae(path)
    torch.save({**state, "conv2.weight": torch.zeros(48, 48, 1, 1, 1)}, path)
    with pytest.raises(DataError, match=r"shape \(48, 48, 1, 1, 1\) instead of \(16, 16, 1, 1, 1\).*key conv2.weight"):
        load_vae(path)
    torch.save({**state, "encoder.conv1.weight": torch.zeros(7, 3, 3, 3, 3)}, path)
    with pytest.raises(DataError, match="an even width"):
        load_vae(path)
    torch.save({"net.blocks.0.weight": torch.zeros(1)}, path)
    with pytest.raises(DataError, match="194 missing: .*1 unexpected: blocks.0.weight"):
        load_vae(path)


def test_values_that_are_no_weights_are_refused(tmp_path: Path, state: dict):
    path = tmp_path / "vae.pth"
    torch.save({**state, "conv1.bias": torch.full((32,), float("nan"))}, path)
    with pytest.raises(DataError, match="not all finite.*key conv1.bias"):
        load_vae(path)
    torch.save({**state, "conv1.bias": torch.zeros(32, dtype=torch.int8)}, path)
    with pytest.raises(DataError, match="torch.int8.*key conv1.bias"):
        load_vae(path)
    for content in ({"a": 1}, [torch.zeros(1)]):
        torch.save(content, path)
        with pytest.raises(DataError, match="holds"):
            load_vae(path)


class _Attack:
    def __reduce__(self) -> tuple:
        return Path.touch, (Path("executed"),)


def test_nothing_of_a_file_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("vae.pth").write_bytes(pickle.dumps({"conv1.weight": _Attack()}))
    torch.save({"conv1.weight": _Attack()}, "zipped.pth")
    for name in ("vae.pth", "zipped.pth", "absent.pth"):
        with pytest.raises(DataError, match=name):
            load_vae(name)
    assert not Path("executed").exists()


def test_a_damaged_file_is_refused(tmp_path: Path, state: dict):
    path = tmp_path / "vae.pth"
    torch.save(state, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        load_vae(path)
