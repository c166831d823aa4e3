"""Merged files of weights compute what the network with adapters computes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.models.dit.lora import add_lora
from cosmos_lidar.models.dit.lora_files import save_lora
from cosmos_lidar.models.dit.lora_merge import merge_files
from cosmos_lidar.models.dit.weights import load_dit_weights
from tests.models.dit.test_lora import TARGETS, network, output, randomize


@torch.no_grad()
@pytest.mark.parametrize("name", ["merged.safetensors", "merged.pt"])
def test_adapters_and_their_base(name: str, tmp_path: Path) -> None:
    base = network()
    torch.save({f"net.{key}": tensor for key, tensor in base.state_dict().items()}, tmp_path / "base.pt")
    adapted = add_lora(base, 4, 8.0, TARGETS, modules_to_save=["view_embeddings"])
    randomize(adapted)
    adapted.view_embeddings.weight.add_(0.5)
    save_lora(adapted, tmp_path / "rain")
    assert merge_files(tmp_path / "base.pt", [tmp_path / "rain"], tmp_path / name) == 20
    merged = network()
    load_dit_weights(merged, tmp_path / name)
    wanted = output(adapted)
    assert float((output(merged) - wanted).abs().max()) < 1e-6 * float(wanted.abs().max())
    with pytest.raises(DataError, match="fingerprint"):  # a second time
        merge_files(tmp_path / name, [tmp_path / "rain"], tmp_path / "twice.pt")
    with pytest.raises(UserError, match="has no adapters in it"):
        merge_files(tmp_path / "base.pt", [], tmp_path / "none.pt")
    with pytest.raises(UserError, match=r"merged.bin: expected a name that ends in .safetensors or .pt"):
        merge_files(tmp_path / "base.pt", [tmp_path / "rain"], tmp_path / "merged.bin")


@torch.no_grad()
def test_a_base_in_several_files(tmp_path: Path) -> None:
    base = network()
    state = {f"net.{key}": tensor.clone() for key, tensor in base.state_dict().items()}
    adapted = add_lora(base, 4, 8.0, TARGETS)
    randomize(adapted)
    save_lora(adapted, tmp_path / "rain")
    names = {key: f"part{place % 2}.safetensors" for place, key in enumerate(state)}
    for name in ("part0.safetensors", "part1.safetensors"):
        save_file({key: tensor for key, tensor in state.items() if names[key] == name}, tmp_path / name)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": names}))
    torch.save(state, tmp_path / "whole.pt")
    merged = []
    for number, path in enumerate([index, tmp_path / "whole.pt"]):
        assert merge_files(path, [tmp_path / "rain"], tmp_path / f"{number}.safetensors") == 20
        merged.append(load_file(tmp_path / f"{number}.safetensors"))
    assert merged[0].keys() == state.keys()
    assert all(torch.equal(merged[0][key], merged[1][key]) for key in state)


@torch.no_grad()
@pytest.mark.parametrize(("ema", "alpha"), [(False, 4.0), (True, 8.0)])
def test_checkpoints_of_the_published_trainer(ema: bool, alpha: float, tmp_path: Path) -> None:
    """Adapters beside the frozen weights, without their scales; those of the EMA are others."""
    state, expected = {}, torch.empty(0)
    for seed, (prefix, wanted) in enumerate([("net.", not ema), ("net_ema.", ema)]):
        adapted = add_lora(network(), 4, alpha, TARGETS)
        torch.manual_seed(seed)
        randomize(adapted)
        expected = output(adapted) if wanted else expected
        own = {key for key in adapted.state_dict() if ".lora_" in key}
        for key, tensor in adapted.state_dict().items():
            layer = key.removesuffix(".weight")
            plain = f"{layer}.lora_A.default.weight" not in own
            if not key.endswith(".scale"):
                state[prefix + (key if plain else f"{layer}.base_layer.weight")] = tensor
    path = tmp_path / "iter_000000500.pt"
    torch.save(state, path)
    with pytest.raises(DataError, match="`cosmos-lidar merge-lora` merges them"):
        load_dit_weights(network(), path)
    assert merge_files(path, [], tmp_path / "merged.safetensors", ema, 0.0 if alpha == 4 else alpha) == 20
    merged = network()
    load_dit_weights(merged, tmp_path / "merged.safetensors")
    assert float((output(merged) - expected).abs().max()) < 1e-6 * float(expected.abs().max())
