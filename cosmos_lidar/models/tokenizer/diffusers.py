"""Continuous video tokenizers (CV4x8x8, CV8x8x8, CV8x16x16) as Diffusers' ``AutoencoderKLCosmos``, both ways."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.models.diffusers_folder import (
    CONFIG,
    MOST_BLOCKS,
    check_fields,
    read_model,
    read_renamed,
    write_model,
)
from cosmos_lidar.models.tokenizer.infer import FIXED_BUFFERS, infer_config
from cosmos_lidar.models.tokenizer.network import ContinuousTokenizer, Tokenizer, make_tokenizer
from cosmos_lidar.models.tokenizer.video_config import VideoTokenizerConfig

CLASS = "AutoencoderKLCosmos"
_WANTED = f"the tensors of an {CLASS} of its config.json"
_DEFAULTS: dict[str, Any] = {  # of the constructor; latent statistics are a matter of pipelines
    "in_channels": 3, "out_channels": 3, "latent_channels": 16, "encoder_block_out_channels": [128, 256, 512, 512],
    "decode_block_out_channels": [256, 512, 512, 512], "attention_resolutions": [32], "resolution": 1024,
    "num_layers": 2, "patch_size": 4, "patch_type": "haar", "scaling_factor": 1.0, "spatial_compression_ratio": 8,
    "temporal_compression_ratio": 8, "latents_mean": None, "latents_std": None,
}  # fmt: skip
_Pairs = Iterator[tuple[str, str]]  # (our module, theirs)


def export_diffusers(network: Tokenizer, folder: Path) -> list[Path]:
    """Write a tokenizer as a folder of ``AutoencoderKLCosmos``; latent statistics are left empty.

    Raises:
        UserError: Diffusers has no class for it; the message names the reason.
    """
    fields = diffusers_fields(network.config if isinstance(network, ContinuousTokenizer) else None)
    state = {name: value for name, value in network.state_dict().items() if not name.endswith(FIXED_BUFFERS)}
    return write_model(folder, CLASS, fields, diffusers_names(network.config), state)


def read_diffusers(folder: Path) -> tuple[VideoTokenizerConfig, dict[str, Tensor], list[Path]]:
    """Return configuration, tensors by our names, and files of a folder of ``AutoencoderKLCosmos``.

    Raises:
        DataError: another class, a network that is not one of ours, missing or unexpected tensors.
    """
    fields, files = read_model(folder, CLASS, _DEFAULTS)
    config = _config(fields, folder / CONFIG)
    state = read_renamed(files, diffusers_names(config), _WANTED)
    if infer_config(state, str(folder)) != config:
        raise DataError("tensors of other shapes than its configuration", file=folder / CONFIG, wanted=_WANTED)
    return config, state, files


def diffusers_fields(config: object) -> dict[str, Any]:
    """Return the constructor's arguments of ``AutoencoderKLCosmos`` for a configuration.

    Raises:
        UserError: Diffusers has no class for it.
    """
    if not isinstance(config, VideoTokenizerConfig):
        raise UserError(
            f"Diffusers has {CLASS} alone: continuous latents of clips (CV4x8x8, CV8x8x8, CV8x16x16). It has no "
            "quantizer for discrete tokenizers (DI, DV), and no 2-D network for image and lidar tokenizers (CI)"
        )
    if config.z_channels != config.latent_channels:
        sizes = f"z_channels {config.z_channels} and latent_channels {config.latent_channels}"
        raise UserError(f"{sizes}: {CLASS} has one number of channels on both sides of quant_conv")
    widths = [config.channels * multiple for multiple in config.channels_mult]
    return _DEFAULTS | {
        "in_channels": config.in_channels,
        "out_channels": config.in_channels,
        "latent_channels": config.latent_channels,
        "encoder_block_out_channels": [config.channels, *widths],
        "decode_block_out_channels": [*widths, widths[-1]],
        "attention_resolutions": [],
        "num_layers": config.num_res_blocks,
        "patch_size": config.patch_size,
        "spatial_compression_ratio": config.spatial_compression,
        "temporal_compression_ratio": config.temporal_compression,
    }


def diffusers_names(config: Any) -> dict[str, str]:
    """Return our name of each tensor -> Diffusers', for all tensors but computed buffers."""
    with torch.device("meta"):
        own = [name for name in make_tokenizer(config).state_dict() if not name.endswith(FIXED_BUFFERS)]
    modules = dict(_modules(config))
    return {name: f"{modules[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}" for name in own}


def _modules(config: VideoTokenizerConfig) -> _Pairs:
    last = len(config.channels_mult) - 1
    for half, part, levels in (("encoder", "down", "down_blocks"), ("decoder", "up", "up_blocks")):
        yield from _both(f"{half}.conv_in", f"{half}.conv_in")
        yield from _middle(f"{half}.mid", f"{half}.mid_block")
        yield f"{half}.norm_out.norm", f"{half}.norm_out.norm"
        yield from _both(f"{half}.conv_out", f"{half}.conv_out")
        for level in range(last + 1):
            ours = f"{half}.{part}.{level}"
            theirs = f"{half}.{levels}.{level if part == 'down' else last - level}"  # theirs from the latent outwards
            for block in range(config.num_res_blocks + 1):
                yield from _res_block(f"{ours}.block.{block}", f"{theirs}.resnets.{block}")
            for conv in ("conv1", "conv2", "conv3"):
                yield f"{ours}.{part}sample.{conv}.conv3d", f"{theirs}.{part}samplers.0.{conv}"
    for name in ("quant_conv", "post_quant_conv"):
        yield f"{name}.conv3d", name


def _both(ours: str, theirs: str) -> _Pairs:
    """A spatial convolution followed by a temporal one."""
    yield f"{ours}.0.conv3d", f"{theirs}.conv_s"
    yield f"{ours}.1.conv3d", f"{theirs}.conv_t"


def _res_block(ours: str, theirs: str) -> _Pairs:
    for number in (1, 2):
        yield f"{ours}.norm{number}.norm", f"{theirs}.norm{number}.norm"
        yield from _both(f"{ours}.conv{number}", f"{theirs}.conv{number}")
    yield f"{ours}.nin_shortcut.conv3d", f"{theirs}.conv_shortcut"


def _middle(ours: str, theirs: str) -> _Pairs:
    yield from _res_block(f"{ours}.block_1", f"{theirs}.resnets.0")
    yield from _res_block(f"{ours}.block_2", f"{theirs}.resnets.1")
    for number, kind in enumerate(("attentions", "temp_attentions")):
        own, other = f"{ours}.attn_1.{number}", f"{theirs}.{kind}.0"
        yield f"{own}.norm.norm", f"{other}.norm.norm"
        for layer, name in (("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0")):
            yield f"{own}.{layer}.conv3d", f"{other}.{name}"


def _config(fields: dict[str, Any], where: Path) -> VideoTokenizerConfig:
    """Return the configuration of the same network.

    Raises:
        DataError: a network that ours cannot be.
    """
    channels, *widths = fields["encoder_block_out_channels"] or [0]
    decoder = fields["decode_block_out_channels"]
    size = fields["resolution"] // max(fields["patch_size"], 1)
    levels = {size // 2**level for level in range(min(len(widths), MOST_BLOCKS))}
    check_fields(fields, where, (
        ("decode_block_out_channels", decoder != [*widths, *widths[-1:]], "the encoder's widths, the last one twice"),
        ("encoder_block_out_channels", any(width % max(channels, 1) for width in widths), "multiples of the first"),
        ("patch_type", fields["patch_type"] != "haar", "haar"),
        ("num_layers", not 0 < fields["num_layers"] <= MOST_BLOCKS, f"1 to {MOST_BLOCKS}"),
        ("in_channels", fields["in_channels"] != 3, "3"),
        ("out_channels", fields["out_channels"] != 3, "3"),
        ("attention_resolutions", levels & set(fields["attention_resolutions"]), f"none of {sorted(levels)}: attention "
         "in the middle alone"),
    ))  # fmt: skip
    try:
        return VideoTokenizerConfig(
            spatial_compression=fields["spatial_compression_ratio"],
            temporal_compression=fields["temporal_compression_ratio"],
            patch_size=fields["patch_size"],
            channels=channels,
            channels_mult=tuple(width // channels for width in widths),
            num_res_blocks=fields["num_layers"],
            z_channels=fields["latent_channels"],
            latent_channels=fields["latent_channels"],
        )
    except (UserError, ZeroDivisionError, ValueError) as error:
        raise DataError(f"no video tokenizer: {error}", file=where, wanted="a CV tokenizer") from error
