"""Networks of CosmosTransformer3DModel that are none of Predict2."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.dit.predict2 import Predict2DiT
from cosmos_lidar.models.dit.predict2.diffusers import _OURS_ALONE, diffusers_names, export_diffusers, read_diffusers

SMALL: dict[str, Any] = {"model_channels": 48, "num_heads": 2, "num_blocks": 1, "adaln_lora_dim": 4}


@pytest.fixture(scope="module")
def network() -> Predict2DiT:
    made = build_dit("predict2_2b_video2world", **SMALL)
    assert isinstance(made, Predict2DiT)
    return made


def test_every_tensor_has_one_name_in_diffusers(network: Predict2DiT):
    names = diffusers_names(network.config)
    assert sorted(names) == sorted(network.state_dict())
    assert len(set(names.values())) == len(names)
    assert names["blocks.0.cross_attn.output_proj.weight"] == "transformer_blocks.0.attn2.to_out.0.weight"
    assert names["blocks.0.adaln_modulation_mlp.2.weight"] == "transformer_blocks.0.norm3.linear_2.weight"


def test_every_option_is_held_or_refused(network: Predict2DiT):
    """An option that is new has to be put into one of the two tables, or compared with the output of Diffusers."""
    held = {
        "in_channels", "out_channels", "model_channels", "num_blocks", "num_heads", "mlp_ratio", "adaln_lora_dim",
        "crossattn_emb_channels", "crossattn_proj_in_channels", "patch_spatial", "patch_temporal", "max_img_h",
        "max_img_w", "max_frames", "base_fps", "rope_h_extrapolation_ratio", "rope_w_extrapolation_ratio",
        "rope_t_extrapolation_ratio", "rope_enable_fps_modulation", "condition_mask", "concat_padding_mask",
    }  # fmt: skip
    of_views = {"attention_scope", "view_condition_dim", "n_cameras_emb"}  # nothing with a single view
    assert {field.name for field in fields(network.config)} == held | of_views | set(_OURS_ALONE)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"extra_pos_embed_type": "learnable"}, "'learnable'.*key extra_pos_embed_type.*Predict2, not of Predict1"),
        ({"controlnet_block_every_n": 7}, "7 .*no network of Transfer"),
        ({"img_context_dim_in": 1152}, "1152 .*no network of Transfer"),
        ({"in_channels": 33}, "33 .*condition mask"),
        ({"patch_size": [1, 2, 4]}, "key patch_size"),
        ({"rope_scale": [1.0, 0.0, 1.0]}, "key rope_scale"),
        ({"max_size": [128]}, "key max_size"),
        ({"num_layers": 10_000}, "10000 .*key num_layers"),
        ({"num_attention_heads": 0}, "key num_attention_heads"),
        ({"attention_head_dim": 7}, "no network of Predict2"),
        ({"num_layers": 2}, "missing: transformer_blocks.1"),
        ({"use_crossattn_projection": True}, "2 missing: crossattn_proj.0.bias"),
        ({"use_crossattn_projection": True, "encoder_hidden_states_channels": 5}, "Expected: text_embed_dim"),
    ],
)
def test_other_networks_are_refused(changed: dict[str, Any], message: str, network: Predict2DiT, tmp_path: Path):
    export_diffusers(network, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changed))
    with pytest.raises(DataError, match=message):
        read_diffusers(tmp_path)
