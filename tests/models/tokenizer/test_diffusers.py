"""Tensors of AutoencoderKLCosmos, and networks of that class that are none of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.tokenizer import VIDEO_CONFIGS, build_tokenizer, load_tokenizer
from cosmos_lidar.models.tokenizer.diffusers import diffusers_names, export_diffusers, read_diffusers
from cosmos_lidar.models.tokenizer.infer import FIXED_BUFFERS
from cosmos_lidar.models.tokenizer.network import make_tokenizer


@pytest.mark.parametrize("name", [name for name in VIDEO_CONFIGS if name.startswith("CV")])
def test_every_tensor_has_one_name_in_diffusers(name: str):
    names = diffusers_names(VIDEO_CONFIGS[name])
    with torch.device("meta"):
        own = [key for key in make_tokenizer(VIDEO_CONFIGS[name]).state_dict() if not key.endswith(FIXED_BUFFERS)]
    assert list(names) == own
    assert len(set(names.values())) == len(own)


def test_names_that_are_easily_confused():
    names = diffusers_names(VIDEO_CONFIGS["CV8x8x8"])
    assert names["decoder.up.2.block.0.conv1.1.conv3d.weight"] == "decoder.up_blocks.0.resnets.0.conv1.conv_t.weight"
    assert names["decoder.up.1.upsample.conv2.conv3d.bias"] == "decoder.up_blocks.1.upsamplers.0.conv2.bias"
    assert names["encoder.mid.attn_1.1.k.conv3d.weight"] == "encoder.mid_block.temp_attentions.0.to_k.weight"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("diffusers")
    export_diffusers(build_tokenizer("CV4x8x8", channels=8, num_res_blocks=1), made)
    return made


def test_tokenizers_are_loaded_from_such_a_folder(folder: Path):
    assert load_tokenizer(folder).config == read_diffusers(folder)[0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"patch_type": "rearrange"}, "'rearrange'.*key patch_type.*Expected: haar"),
        ({"attention_resolutions": [128]}, r"\[128\].*key attention_resolutions.*none of \[128, 256\]"),
        ({"decode_block_out_channels": [16, 32, 64]}, "key decode_block_out_channels.*the last one twice"),
        ({"encoder_block_out_channels": [12, 16, 32]}, "key encoder_block_out_channels.*multiples"),
        ({"encoder_block_out_channels": []}, "config.json"),
        ({"encoder_block_out_channels": [0, 0, 0], "decode_block_out_channels": [0, 0, 0]}, "no video tokenizer"),
        ({"num_layers": 100_000}, "100000.*key num_layers"),
        ({"num_layers": 2}, r"48 missing: decoder.up_blocks"),
        ({"spatial_compression_ratio": 0}, "spatial_compression=0"),
        ({"out_channels": 4}, "key out_channels"),
        ({"latent_channels": 8}, "tensors of other shapes than its configuration"),
    ],
)
def test_other_networks_are_refused(fields: dict[str, Any], message: str, folder: Path, tmp_path: Path):
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | fields))
    (tmp_path / "diffusion_pytorch_model.safetensors").symlink_to(folder / "diffusion_pytorch_model.safetensors")
    with pytest.raises(DataError, match=message):
        load_tokenizer(tmp_path)
