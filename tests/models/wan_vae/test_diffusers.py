"""Wan VAEs of other kinds in Diffusers' folders are refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.wan_vae import load_vae, load_vae_weights
from cosmos_lidar.models.wan_vae.diffusers import export_diffusers
from tests.models.wan_vae.reference import small_vae


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("diffusers")
    export_diffusers(small_vae(), made)
    return made


def test_weights_fill_a_network_of_that_width_alone(folder: Path):
    vae = load_vae(folder, dim=8)
    vae.conv1.bias.zero_()
    load_vae_weights(vae, folder)
    assert vae.conv1.bias.equal(small_vae().conv1.bias)
    with pytest.raises(DataError, match="a VAE of width 8.*Expected: width 96"):
        load_vae(folder, dim=96)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"is_residual": True}, "True .*key is_residual.*a VAE of Wan2.1"),
        ({"decoder_base_dim": 16}, "16 .*key decoder_base_dim"),
        ({"patch_size": 2}, "2 .*key patch_size"),
        ({"z_dim": 48}, "48 .*key z_dim"),
        ({"latents_std": [0.0] * 16}, "key latents_std"),
        ({"num_res_blocks": 1000}, "1000 .*key num_res_blocks"),
        ({"dim_mult": []}, "key dim_mult"),
        ({"temperal_downsample": [True]}, "no VAE"),
        ({"num_res_blocks": 1}, "unexpected: "),
    ],
)
def test_other_vaes_are_refused(fields: dict[str, Any], message: str, folder: Path, tmp_path: Path):
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | fields))
    (tmp_path / "diffusion_pytorch_model.safetensors").symlink_to(folder / "diffusion_pytorch_model.safetensors")
    with pytest.raises(DataError, match=message):
        load_vae(tmp_path)
