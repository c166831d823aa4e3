"""Names of the Wan2.1 VAE in Diffusers' files (``AutoencoderKLWan``), and the published ones."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch

from cosmos_lidar.models.wan_vae.config import WanVAEConfig
from cosmos_lidar.models.wan_vae.vae import WanVAE

_INNER = {
    "norm1.gamma": "residual.0.gamma",
    "conv1.": "residual.2.",
    "norm2.gamma": "residual.3.gamma",
    "conv2.": "residual.6.",
    "conv_shortcut.": "shortcut.",
}
_OUTER = (
    (r"quant_conv\.", "conv1."),
    (r"post_quant_conv\.", "conv2."),
    (r"(encoder|decoder)\.conv_in\.", r"\1.conv1."),
    (r"(encoder|decoder)\.norm_out\.", r"\1.head.0."),
    (r"(encoder|decoder)\.conv_out\.", r"\1.head.2."),
    (r"(encoder|decoder)\.mid_block\.attentions\.0\.", r"\1.middle.1."),
)
_RESNET_OF_MIDDLE = re.compile(r"(encoder|decoder)\.mid_block\.resnets\.(\d+)\.")
_DOWN = re.compile(r"encoder\.down_blocks\.(\d+)\.")
_UP = re.compile(r"decoder\.up_blocks\.(\d+)\.(resnets|upsamplers)\.(\d+)\.")
_PER_LEVEL = 4  # three residual blocks and one step up


def published_name(name: str) -> str:
    """Return the published name of a tensor of Diffusers' network; other names as they are."""
    for pattern, replacement in _OUTER:
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name, count=1)
    if match := _RESNET_OF_MIDDLE.match(name):
        return f"{match[1]}.middle.{2 * int(match[2])}.{_inner(name[match.end() :])}"
    if match := _DOWN.match(name):
        return f"encoder.downsamples.{match[1]}.{_inner(name[match.end() :])}"
    if match := _UP.match(name):
        place = int(match[3]) if match[2] == "resnets" else _PER_LEVEL - 1
        return f"decoder.upsamples.{_PER_LEVEL * int(match[1]) + place}.{_inner(name[match.end() :])}"
    return name


def diffusers_names(config: WanVAEConfig) -> dict[str, str]:
    """Return the published name of each tensor -> Diffusers'."""
    with torch.device("meta"):
        own = list(WanVAE(config).state_dict())
    modules = dict(_modules(config))
    theirs = {}
    for name in own:
        prefix = max((prefix for prefix in modules if name.startswith(f"{prefix}.")), key=len)
        theirs[name] = f"{modules[prefix]}.{_theirs_inside(name[len(prefix) + 1 :])}"
    return theirs


def _modules(config: WanVAEConfig) -> Iterator[tuple[str, str]]:
    yield from (("conv1", "quant_conv"), ("conv2", "post_quant_conv"))
    for half in ("encoder", "decoder"):
        yield f"{half}.conv1", f"{half}.conv_in"
        yield from ((f"{half}.head.0", f"{half}.norm_out"), (f"{half}.head.2", f"{half}.conv_out"))
        yield f"{half}.middle.1", f"{half}.mid_block.attentions.0"
        yield from ((f"{half}.middle.{2 * number}", f"{half}.mid_block.resnets.{number}") for number in (0, 1))
    levels = len(config.channels_mult)
    for number in range(levels * (config.num_res_blocks + 1)):
        yield f"encoder.downsamples.{number}", f"encoder.down_blocks.{number}"
    per_level = config.num_res_blocks + 2  # of the decoder: one residual block more, and the step up
    for number in range(levels * per_level):
        level, place = divmod(number, per_level)
        kind = "upsamplers.0" if place == per_level - 1 else f"resnets.{place}"
        yield f"decoder.upsamples.{number}", f"decoder.up_blocks.{level}.{kind}"


def _theirs_inside(name: str) -> str:
    """Return Diffusers' name within a block: the inverse of :func:`_inner`."""
    for theirs, published in _INNER.items():
        if name.startswith(published):
            return theirs + name.removeprefix(published)
    return name


def _inner(name: str) -> str:
    """Return the name within a block: residual blocks have others, steps between levels the same."""
    for own, published in _INNER.items():
        if name.startswith(own):
            return published + name.removeprefix(own)
    return name
