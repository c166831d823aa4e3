"""Inference of a tokenizer's configuration from the names and shapes of its tensors."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

from torch import Tensor

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.log import logger
from cosmos_lidar.models.tokenizer.config import TokenizerConfig
from cosmos_lidar.models.tokenizer.range_coding import BUFFER, coding_of
from cosmos_lidar.models.tokenizer.video_config import VideoTokenizerConfig
from cosmos_lidar.models.weight_kinds import TOKENIZER, other_kind

# Buffers that are computed, not learned; files may omit them.
FIXED_BUFFERS = (".wavelets", "._arange", ".patch_size_buffer", "._levels", "._basis", ".implicit_codebook", BUFFER)
_NEEDED = ("encoder.conv_in", "encoder.conv_out", "decoder.conv_in", "decoder.conv_out",
           "quant_conv", "post_quant_conv")  # fmt: skip

_MID_ATTENTION = ("encoder.mid.attn_1.", "decoder.mid.attn_1.")

_GAP = r"((?:encoder\.down|decoder\.up)\.\d+\.(?:downsample|upsample))\.conv3\.conv3d\.weight"
_LEVEL = r"encoder\.down\.(\d+)\.block\."
_UNUSED = r"(encoder\.down|decoder\.up)\.\d+\.(downsample|upsample)\.conv[123]\.conv3d\.(weight|bias)"


def infer_config(state: dict[str, Tensor], where: str) -> TokenizerConfig | VideoTokenizerConfig:
    """Return the configuration of the network with these tensors.

    Args:
        state: tensors by published key.
        where: the file or files, for messages.

    Raises:
        DataError: keys of encoder or decoder are missing, or no network of this family has such tensors.
    """
    video = any(".conv3d." in key for key in state)
    missing = [name for name in _NEEDED if not any(_is_weight(key, name) for key in state)]
    if missing:
        wanted = "tensors of an encoder and a decoder"
        if other := other_kind(state, TOKENIZER):
            raise DataError(other, file=where, wanted=f"{TOKENIZER}: {wanted}")
        own = f"{', '.join(sorted(state)[:4])}, …" if state else "no tensors"
        raise DataError(
            f"no tokenizer, or half of one: missing {', '.join(missing)}; it holds {own}",
            file=where,
            wanted=wanted,
        )
    try:
        return infer_video_config(state) if video else _config(state)
    except (UserError, ValueError, TypeError, LookupError) as error:
        wanted = "a CI, DI, CV or DV tokenizer"
        raise DataError(f"tensors of no known shape: {error}", file=where, wanted=wanted) from error


def _is_weight(key: str, name: str) -> bool:
    return key.startswith(f"{name}.") and key.endswith(".weight")


def split_unused(state: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict without tensors that have no effect.

    That is computed buffers that this network does not keep, and, of video tokenizers in the older published layout,
    convolutions of up- and downsampling that are stored but never used.
    """
    unused = re.compile(_UNUSED if _is_older_layout(state) else r"(?!)")
    return {
        key: value
        for key, value in state.items()
        if key in own or not (key.endswith(FIXED_BUFFERS) or unused.fullmatch(key))
    }


def _config(state: dict[str, Tensor]) -> TokenizerConfig:
    channels, patch_channels, *_ = state["encoder.conv_in.weight"].shape
    halvings = len({key for key in state if re.fullmatch(r"encoder\.down\.\d+\.downsample\.conv\.weight", key)})
    patch = math.isqrt(patch_channels // 3)
    z_channels, latent_channels, discrete, levels = _latent(state, "encoder.conv_out.weight", "quant_conv.weight")
    coding, scale = coding_of(state.get(BUFFER))
    plain = TokenizerConfig(
        family="DI" if discrete else "CI",
        spatial_compression=patch * 2**halvings,
        patch_size=patch,
        channels=channels,
        channels_mult=_multiples(_widths(state, "conv1.weight"), channels),
        num_res_blocks=_blocks(state),
        z_channels=z_channels,
        latent_channels=latent_channels,
        coding=coding,
        scale=scale,
        mid_attention=any(key.startswith(_MID_ATTENTION) for key in state),
        **levels,
    )
    return _with_attention(plain, (_attention(state, r"encoder\.down"), _attention(state, r"decoder\.up")))


def infer_video_config(state: dict[str, Tensor]) -> VideoTokenizerConfig:
    """Return the configuration of a CV or DV network.

    The older layout stores all convolutions of every up- and downsampling, used or not, and so does not determine the
    compression; its published members are 4x8x8 with two levels and 8x8x8 with three.
    """
    channels, patch_channels, *_ = state["encoder.conv_in.0.conv3d.weight"].shape
    patch = round((patch_channels / 3) ** (1 / 3))
    widths = _widths(state, "conv1.0.conv3d.weight")
    down = r"encoder\.down\.\d+\.downsample\.conv%d\.conv3d\.weight"
    spatial, temporal = (sum(bool(re.fullmatch(down % i, key)) for key in state) for i in (1, 2))
    if _is_older_layout(state):
        spatial, temporal = 1, 0 if len(widths) == 2 else 1
        taken = "4x8x8" if len(widths) == 2 else "8x8x8"
        logger.warning("video tokenizer in the older layout, which does not tell its compression: taken as %s", taken)
    ends = ("encoder.conv_out.0.conv3d.weight", "quant_conv.conv3d.weight")
    z_channels, latent_channels, discrete, levels = _latent(state, *ends)
    return VideoTokenizerConfig(
        family="DV" if discrete else "CV",
        spatial_compression=patch * 2**spatial,
        temporal_compression=patch * 2**temporal,
        patch_size=patch,
        channels=channels,
        channels_mult=_multiples(widths, channels),
        num_res_blocks=_blocks(state),
        z_channels=z_channels,
        latent_channels=latent_channels,
        **levels,
    )


def _is_older_layout(state: dict[str, Tensor]) -> bool:
    """Return whether every gap between levels has all convolutions, in encoder and decoder alike.

    No network uses them all: the decoder never doubles time in its first gap. The newer layout leaves out gaps that
    change nothing, so that all those *stored* may be full, as in 8x8x8.
    """
    gaps = {match[1] for match in map(re.compile(_GAP).fullmatch, state) if match}
    levels = {match[1] for match in map(re.compile(_LEVEL).match, state) if match}
    return 0 < len(gaps) == 2 * (len(levels) - 1) and all(
        f"{gap}.conv{i}.conv3d.weight" in state for gap in gaps for i in (1, 2, 3)
    )


def _latent(state: dict[str, Tensor], end: str, quant_conv: str) -> tuple[int, int, bool, dict[str, Any]]:
    """Return z_channels, latent_channels, whether it is discrete, and the quantizer's levels where they are stored.

    The quantizer has no weights; without its buffers it is recognized by the six channels of all discrete members.
    """
    z_channels, latent_channels = state[end].shape[0], state[quant_conv].shape[0]
    taken = state[f"post_{quant_conv}"].shape[1]
    if taken != latent_channels:
        raise ValueError(f"the encoder gives {latent_channels} latent channels, the decoder takes {taken}")
    discrete = any(key.startswith("quantizer.") for key in state) or (z_channels != latent_channels == 6)
    levels = {"levels": tuple(state["quantizer._levels"].tolist())} if "quantizer._levels" in state else {}
    return z_channels, latent_channels, discrete, levels


def _blocks(state: dict[str, Tensor]) -> int:
    return len({key.split(".")[4] for key in state if key.startswith("encoder.down.0.block.")})


def _widths(state: dict[str, Tensor], leaf: str) -> list[int]:
    widths: list[int] = []
    while (key := f"encoder.down.{len(widths)}.block.0.{leaf}") in state:
        widths.append(state[key].shape[0])
    if not widths:
        raise ValueError(f"no {key}")
    return widths


def _multiples(widths: list[int], channels: int) -> tuple[int, ...]:
    if channels < 1 or any(width % channels for width in widths):
        raise ValueError(f"levels of {widths} channels are no multiples of the {channels} of encoder.conv_in")
    return tuple(width // channels for width in widths)


def _attention(state: dict[str, Tensor], part: str) -> tuple[int, ...]:
    found = (re.fullmatch(part + r"\.(\d+)\.attn\.0\.q\.weight", key) for key in state)
    return tuple(sorted(int(match[1]) for match in found if match))


def _with_attention(config: TokenizerConfig, levels: tuple[tuple[int, ...], ...]) -> TokenizerConfig:
    """Return the config whose tracked resolutions put attention at these levels of encoder and decoder.

    Files do not contain the resolution, only what follows from it. Tensors that no resolution explains are left for the
    comparison of keys, which names them.
    """
    for resolution in (1024, 512, 2048, 256, 128, 64, 32, 16, 8, 4096, 8192):
        for count in range(1, len(config.channels_mult) + 1):
            wanted = tuple(32 >> i for i in range(count))
            tried = replace(config, resolution=resolution, attn_resolutions=wanted)
            if tried.attention_levels == levels:
                return tried
    return config
