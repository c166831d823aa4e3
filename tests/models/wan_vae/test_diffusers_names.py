from __future__ import annotations

import torch

from cosmos_lidar.models.wan_vae import CONFIGS, build_vae
from cosmos_lidar.models.wan_vae.diffusers_names import diffusers_names, published_name


def test_every_tensor_is_found_by_its_name_in_diffusers():
    with torch.device("meta"):
        names = list(build_vae().state_dict())
    table = diffusers_names(CONFIGS["wan2_1"])
    assert list(table) == names
    theirs = list(table.values())
    assert len(set(theirs)) == 194
    assert "decoder.up_blocks.0.upsamplers.0.time_conv.weight" in theirs
    assert "encoder.down_blocks.2.resample.1.bias" in theirs
    assert [published_name(name) for name in theirs] == names
    assert [published_name(name) for name in names] == names
