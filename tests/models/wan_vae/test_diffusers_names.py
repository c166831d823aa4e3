from __future__ import annotations

import re

import torch

from cosmos_lidar.models.wan_vae import build_vae
from cosmos_lidar.models.wan_vae.diffusers_names import published_name


def diffusers_name(name: str) -> str:
    """Return the name in Diffusers of a published one: the other direction, from its module tree."""
    half, _, rest = name.partition(".")
    if half in ("conv1", "conv2"):
        return f"{'quant_conv' if half == 'conv1' else 'post_quant_conv'}.{rest}"
    part, _, inner = rest.partition(".")
    if part == "conv1":
        return f"{half}.conv_in.{inner}"
    if part == "head":
        return f"{half}.norm_out.gamma" if inner.startswith("0") else f"{half}.conv_out.{inner[2:]}"
    number, _, inner = inner.partition(".")
    for own, theirs in (("0.gamma", "norm1.gamma"), ("2", "conv1"), ("3.gamma", "norm2.gamma"), ("6", "conv2")):
        inner = re.sub(rf"^residual\.{re.escape(own)}", theirs, inner)
    inner = re.sub(r"^shortcut", "conv_shortcut", inner)
    if part == "middle":
        return f"{half}.mid_block." + (
            f"attentions.0.{inner}" if number == "1" else f"resnets.{int(number) // 2}.{inner}"
        )
    if part == "downsamples":
        return f"encoder.down_blocks.{number}.{inner}"
    level, place = divmod(int(number), 4)
    return f"decoder.up_blocks.{level}." + (f"upsamplers.0.{inner}" if place == 3 else f"resnets.{place}.{inner}")


def test_every_tensor_is_found_by_its_name_in_diffusers():
    with torch.device("meta"):
        names = list(build_vae().state_dict())
    theirs = [diffusers_name(name) for name in names]
    assert len(set(theirs)) == 194
    assert "decoder.up_blocks.0.upsamplers.0.time_conv.weight" in theirs
    assert "encoder.down_blocks.2.resample.1.bias" in theirs
    assert [published_name(name) for name in theirs] == names
    assert [published_name(name) for name in names] == names
