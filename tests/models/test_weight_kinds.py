"""Kinds of weights: recognized in the embedded models and in our networks, named by every loader of another kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from cosmos_lidar import weights
from cosmos_lidar.errors import DataError
from cosmos_lidar.models import weight_kinds as kinds
from cosmos_lidar.models.diffusers_folder import WEIGHTS
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.dit.weights import load_dit_weights
from cosmos_lidar.models.sparse import load_backbone
from cosmos_lidar.models.tokenizer import load_tokenizer
from cosmos_lidar.models.wan_vae import build_vae, load_vae
from cosmos_lidar.models.wan_vae.diffusers import export_diffusers

EMBEDDED: Mapping[str, str] = {
    "small-backbone": kinds.BACKBONE,
    "small-semseg": kinds.BACKBONE,
    "small-image-tokenizer": kinds.TOKENIZER,
    "small-lidar-tokenizer": kinds.TOKENIZER,
    "small-lidargen": kinds.DIT,
    "small-multiview": kinds.PREDICT2,
    "small-multiview-vae": kinds.VAE,
}
LOADERS: Mapping[str, Callable[[Path], object]] = {
    kinds.BACKBONE: load_backbone,
    kinds.TOKENIZER: load_tokenizer,
    kinds.VAE: load_vae,
    kinds.DIT: lambda path: load_dit_weights(_network("faditv2_debug"), path),
    kinds.PREDICT2: lambda path: load_dit_weights(_network("predict2_debug_multiview"), path),
}


def _network(name: str) -> torch.nn.Module:
    with torch.device("meta"):
        return build_dit(name)


def _file(name: str) -> Path:
    return weights.find(name) / weights.FILE


def test_embedded_models_are_recognized() -> None:
    assert sorted(EMBEDDED) == weights.names()
    for name, kind in EMBEDDED.items():
        with safe_open(_file(name), "pt") as file:
            assert kinds.kind_of(file.keys()) == kind, name


def test_other_names() -> None:
    assert kinds.kind_of(["conv1.weight", "fc.bias", "stem.0.kernel.bias"]) is None
    assert kinds.kind_of(["module.backbone_3d.conv_input.0.weight"]) == kinds.BACKBONE
    assert kinds.kind_of(["encoder.block.0.layer.0.SelfAttention.q.weight"]) == kinds.TEXT_ENCODER
    assert kinds.other_kind(["base_model.model.blocks.0.lora_A.weight"], kinds.DIT) == kinds.ADAPTERS
    both = ["net.affline_norm.weight", "net.blocks.0.lora_A.default.weight"]
    assert kinds.kind_of(both) == kinds.DIT
    assert kinds.other_kind(both, kinds.DIT) is None
    assert kinds.other_kind(["fc.bias"], kinds.VAE) is None


def test_the_vae_in_the_names_of_diffusers(tmp_path: Path) -> None:
    export_diffusers(build_vae("wan2_1", dim=4), tmp_path)
    with safe_open(tmp_path / WEIGHTS, "pt") as file:
        assert kinds.kind_of(file.keys()) == kinds.VAE


@pytest.mark.parametrize("expected", LOADERS)
def test_weights_of_another_network_are_refused_by_what_they_are(expected: str, tmp_path: Path) -> None:
    for name in ("small-semseg", "small-lidar-tokenizer", "small-lidargen", "small-multiview", "small-multiview-vae"):
        if EMBEDDED[name] != expected:
            with pytest.raises(DataError) as refused:
                LOADERS[expected](_file(name))
            assert refused.value.problem == f"weights of {EMBEDDED[name]}"
            assert str(refused.value.file) == str(_file(name))
            assert refused.value.wanted
    save_file({"model.other.weight": torch.ones(2)}, tmp_path / "other.safetensors")
    with pytest.raises(DataError) as refused:
        LOADERS[expected](tmp_path / "other.safetensors")
    assert "weights of" not in refused.value.problem
