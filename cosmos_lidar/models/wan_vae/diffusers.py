"""The Wan2.1 video VAE as Diffusers' ``AutoencoderKLWan``, both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
from cosmos_lidar.models.wan_vae.config import CONFIGS, WanVAEConfig
from cosmos_lidar.models.wan_vae.diffusers_names import diffusers_names
from cosmos_lidar.models.wan_vae.vae import WanVAE

CLASS = "AutoencoderKLWan"
_WANTED = f"the tensors of an {CLASS} of its config.json"
_KIND = "a VAE of Wan2.1"
_PUBLISHED = CONFIGS["wan2_1"]
_FIXED: dict[str, tuple[Any, ...]] = {  # values that the Wan2.1 VAE has, the one of its constructor's default first
    "decoder_base_dim": (None,), "attn_scales": ([],), "is_residual": (False,), "in_channels": (3,),
    "out_channels": (3,), "patch_size": (None, 1),
}  # fmt: skip


def export_diffusers(vae: WanVAE, folder: Path) -> list[Path]:
    """Write a VAE as a folder of ``AutoencoderKLWan``, whose latents are not normalized: pipelines do that.

    Returns:
        The files.
    """
    return write_model(folder, CLASS, diffusers_fields(vae.config), diffusers_names(vae.config), vae.state_dict())


def read_diffusers(folder: Path) -> tuple[WanVAEConfig, dict[str, Tensor]]:
    """Return configuration and tensors by their published names of a folder of ``AutoencoderKLWan``.

    Raises:
        DataError: another class, a VAE of another kind (Wan2.2), missing or unexpected tensors.
    """
    fields, files = read_model(folder, CLASS, diffusers_fields(_PUBLISHED))
    config = _config(fields, folder / CONFIG)
    return config, read_renamed(files, diffusers_names(config), _WANTED)


def diffusers_fields(config: WanVAEConfig) -> dict[str, Any]:
    """Return the constructor's arguments of ``AutoencoderKLWan`` for a configuration."""
    return {
        "base_dim": config.dim,
        "z_dim": config.latent_channels,
        "dim_mult": list(config.channels_mult),
        "num_res_blocks": config.num_res_blocks,
        "temperal_downsample": list(config.temporal),  # Diffusers' spelling
        "dropout": 0.0,
        "latents_mean": list(config.latent_mean),
        "latents_std": list(config.latent_std),
        "scale_factor_temporal": config.temporal_compression,
        "scale_factor_spatial": config.spatial_compression,
    } | {name: values[0] for name, values in _FIXED.items()}


def _config(fields: dict[str, Any], where: Path) -> WanVAEConfig:
    """Return the configuration of the same network.

    Raises:
        DataError: a network that ours cannot be.
    """
    of_decoder = {"decoder_base_dim": (fields["base_dim"],)}  # beside those of all
    check_fields(fields, where, (
        (key, fields[key] not in (*valid, *of_decoder.get(key, ())), f"{valid[0]!r}: {_KIND}")
        for key, valid in _FIXED.items()
    ))  # fmt: skip
    mean, std, widths = fields["latents_mean"], fields["latents_std"], fields["dim_mult"]
    positive = all(isinstance(multiple, int) and multiple > 0 for multiple in widths)
    check_fields(fields, where, (
        ("num_res_blocks", not 0 < fields["num_res_blocks"] <= MOST_BLOCKS, _KIND),
        ("dim_mult", not (0 < len(widths) <= 16 and positive), _KIND),
        ("latents_std", not all(value > 0 for value in std), _KIND),
        ("z_dim", fields["z_dim"] != len(mean), _KIND),
    ))  # fmt: skip
    try:
        return WanVAEConfig(
            dim=fields["base_dim"],
            channels_mult=tuple(fields["dim_mult"]),
            num_res_blocks=fields["num_res_blocks"],
            temporal=tuple(map(bool, fields["temperal_downsample"])),
            latent_mean=tuple(mean),
            latent_std=tuple(std),
        )
    except UserError as error:
        raise DataError(f"no VAE: {error}", file=where, wanted=_KIND) from error
