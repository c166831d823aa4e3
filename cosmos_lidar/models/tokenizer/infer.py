"""The shape of a tokenizer from the names and shapes of its tensors."""

from __future__ import annotations

import math
import re
from dataclasses import replace

from torch import Tensor

from cosmos_lidar.errors import DataError, UserError
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
    try:
        return _config(state)
    except (UserError, ValueError, IndexError) as error:
        raise DataError(f"tensors of no known shape: {error}", file=where, wanted="a CI or DI tokenizer") from error


def split_unused(state: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state without computed buffers that this network does not keep."""
    return {key: value for key, value in state.items() if key in own or not key.endswith(FIXED_BUFFERS)}


def _config(state: dict[str, Tensor]) -> TokenizerConfig:
    channels, patch_channels, *_ = state["encoder.conv_in.weight"].shape
    halvings = len({key for key in state if re.fullmatch(r"encoder\.down\.\d+\.downsample\.conv\.weight", key)})
    patch = math.isqrt(patch_channels // 3)
    z_channels, latent_channels = (state[f"{name}.weight"].shape[0] for name in ("encoder.conv_out", "quant_conv"))
    # The quantizer has no weights; where its buffers were not stored, the widths that only DI members have tell it.
    discrete = any(key.startswith("quantizer.") for key in state) or (z_channels, latent_channels) == (256, 6)
    levels = {"levels": tuple(state["quantizer._levels"].tolist())} if "quantizer._levels" in state else {}
    plain = TokenizerConfig(
        family="DI" if discrete else "CI",
        spatial_compression=patch * 2**halvings,
        patch_size=patch,
        channels=channels,
        channels_mult=tuple(width // channels for width in _widths(state)),
        num_res_blocks=len({key.split(".")[4] for key in state if key.startswith("encoder.down.0.block.")}),
        z_channels=z_channels,
        latent_channels=latent_channels,
        **levels,
    )
    return _with_attention(plain, tuple(_attention(state, part) for part in (r"encoder\.down", r"decoder\.up")))


def _widths(state: dict[str, Tensor]) -> list[int]:
    widths: list[int] = []
    while (key := f"encoder.down.{len(widths)}.block.0.conv1.weight") in state:
        widths.append(state[key].shape[0])
    if not widths:
        raise ValueError(f"no {key}")
    return widths


def _attention(state: dict[str, Tensor], part: str) -> tuple[int, ...]:
    found = (re.fullmatch(part + r"\.(\d+)\.attn\.0\.q\.weight", key) for key in state)
    return tuple(sorted(int(match[1]) for match in found if match))


def _with_attention(config: TokenizerConfig, levels: tuple[tuple[int, ...], ...]) -> TokenizerConfig:
    """Return the config whose tracked resolutions put attention at these levels of encoder and decoder.

    Files do not hold the resolution, only what follows from it. Tensors that no resolution explains are left for the
    comparison of keys, which names them.
    """
    for resolution in (1024, 512, 2048, 256, 128, 64, 32, 16, 8, 4096, 8192):
        for count in range(1, len(config.channels_mult) + 1):
            wanted = tuple(32 >> i for i in range(count))
            tried = replace(config, resolution=resolution, attn_resolutions=wanted)
            if tried.attention_levels == levels:
                return tried
    return config
