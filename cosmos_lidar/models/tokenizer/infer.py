"""The shape of a tokenizer from the names and shapes of its tensors."""

from __future__ import annotations

import math
import re

from torch import Tensor

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.tokenizer.config import TokenizerConfig

# Buffers that are computed, not learned; files hold them or not.
FIXED_BUFFERS = (".wavelets", "._arange", ".patch_size_buffer", "._levels", "._basis", ".implicit_codebook")
_NEEDED = ("encoder.conv_in.weight", "encoder.conv_out.weight", "decoder.conv_in.weight", "decoder.conv_out.weight",
           "quant_conv.weight", "post_quant_conv.weight")


def infer_config(state: dict[str, Tensor], where: str) -> TokenizerConfig:
    """Return the shape of the network whose tensors these are.

    Args:
        state: tensors by published key.
        where: the file or files, for messages.

    Raises:
        DataError: keys of an image tokenizer are missing, or it is a video tokenizer.
    """
    if any(".conv3d." in key for key in state):
        raise DataError("a video tokenizer (CV or DV)", file=where, wanted="an image tokenizer (CI or DI)")
    missing = [key for key in _NEEDED if key not in state]
    if missing:
        own = sorted(state)[:4]
        raise DataError(
            f"no tokenizer, or half of one: missing {', '.join(missing)}; it holds {', '.join(own)}, …", file=where,
            wanted="tensors of an encoder and a decoder",
        )
    channels, patch_channels = state["encoder.conv_in.weight"].shape[:2]
    widths = _widths(state, where)
    halvings = len({key for key in state if re.fullmatch(r"encoder\.down\.\d+\.downsample\.conv\.weight", key)})
    patch = math.isqrt(patch_channels // 3)
    attention, resolution = _attention(state, patch, halvings, len(widths))
    discrete = any(key.startswith("quantizer.") for key in state)
    return TokenizerConfig(
        family="DI" if discrete else "CI",
        spatial_compression=patch * 2**halvings,
        patch_size=patch,
        channels=channels,
        channels_mult=tuple(width // channels for width in widths),
        num_res_blocks=len({key.split(".")[4] for key in state if key.startswith("encoder.down.0.block.")}),
        attn_resolutions=attention,
        resolution=resolution,
        z_channels=state["encoder.conv_out.weight"].shape[0],
        latent_channels=state["quant_conv.weight"].shape[0],
    )


def split_unused(state: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state without computed buffers that this network does not keep."""
    return {key: value for key, value in state.items() if key in own or not key.endswith(FIXED_BUFFERS)}


def _widths(state: dict[str, Tensor], where: str) -> list[int]:
    widths: list[int] = []
    while (key := f"encoder.down.{len(widths)}.block.0.conv1.weight") in state:
        widths.append(state[key].shape[0])
    if not widths:
        raise DataError("an encoder without levels", file=where, key=key, wanted="the tensors of an image tokenizer")
    return widths


def _attention(state: dict[str, Tensor], patch: int, halvings: int, levels: int) -> tuple[tuple[int, ...], int]:
    """Return (attn_resolutions, resolution) that put attention where the tensors are.

    Only the published cases occur: none besides the middle block (tracked size 1024), or at the decoder's innermost
    level (the size at which that level's tracked resolution is 32). Anything else shows as keys that do not fit.
    """
    innermost = f"decoder.up.{levels - 1}.attn.0.q.weight"
    if innermost not in state:
        return (), 1024
    return (32,), 32 * 2 ** (levels - 1) * patch
