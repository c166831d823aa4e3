"""Names of the Wan2.1 VAE in Diffusers' files (``AutoencoderKLWan``), and the published ones."""

from __future__ import annotations

import re

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


def _inner(name: str) -> str:
    """Return the name within a block: residual blocks have others, steps between levels the same."""
    for own, published in _INNER.items():
        if name.startswith(own):
            return published + name.removeprefix(own)
    return name
