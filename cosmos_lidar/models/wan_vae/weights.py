"""Loading of Wan2.1 VAE weights: the published ``tokenizer.pth``, safetensors, Diffusers' names; strictly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.diffusers_folder import class_in
from cosmos_lidar.models.wan_vae.config import CONFIGS, WanVAEConfig
from cosmos_lidar.models.wan_vae.diffusers import CLASS, read_diffusers
from cosmos_lidar.models.wan_vae.diffusers_names import published_name
from cosmos_lidar.models.wan_vae.vae import WanVAE
from cosmos_lidar.models.weight_kinds import VAE, other_kind
from cosmos_lidar.models.wrapped_weights import read_named_weights, unwrap

_FIRST = "encoder.conv1.weight"  # (width, 3, 3, 3, 3)
_WANTED = "a Wan2.1 VAE: the 194 tensors of tokenizer.pth, a .safetensors file of them, or Diffusers' folder"
_State = dict[str, Tensor]


def load_vae(path: str | Path, dim: int | None = None, dtype: torch.dtype = torch.float32) -> WanVAE:
    """Return the VAE of a file, on the CPU, in eval mode, without gradients.

    Args:
        path: ``.pth``, ``.pt`` or ``.safetensors``; wrapper prefixes such as ``model.`` are dropped. Or a folder of
            Diffusers' ``AutoencoderKLWan``, with the latent statistics of its ``config.json``.
        dim: width that it must have, 96 for the published one; that of the file where None.
        dtype: of the weights in memory; latents are as exact as it is.

    Raises:
        DataError: no readable file, missing or unexpected tensors, another width, values that are not finite.
    """
    path = Path(path)
    config, state = _read(path)
    _expect_width(config.dim, config.dim if dim is None else dim, path)
    with torch.device("meta"):
        vae = WanVAE(config)
    _check(vae, state, path)
    vae.load_state_dict({name: value.to(dtype, copy=True) for name, value in state.items()}, assign=True)
    return vae.eval().requires_grad_(False)


def load_vae_weights(vae: WanVAE, path: str | Path) -> None:
    """Fill a VAE from the same files; nothing is changed where they do not fit.

    Args:
        vae: on any device but meta, of any dtype, which it keeps.
        path: of the file.

    Raises:
        DataError: see :func:`load_vae`.
    """
    path = Path(path)
    config, state = _read(path)
    _expect_width(config.dim, vae.config.dim, path)
    _check(vae, state, path)
    vae.load_state_dict(state)


def _read(path: Path) -> tuple[WanVAEConfig, _State]:
    """Return configuration and tensors of a file by their published names, memory-mapped where it can be."""
    if class_in(path) == CLASS:
        return read_diffusers(path)
    state = read_named_weights(path, _WANTED)
    if not state:
        raise DataError("holds no weights", file=path, wanted=_WANTED)
    if other := other_kind(state, VAE):
        raise DataError(other, file=path, wanted=_WANTED)
    state = unwrap(state, path)
    if _FIRST not in state:
        state = {published_name(name): value for name, value in state.items()}
    return replace(CONFIGS["wan2_1"], dim=_width(state, path)), state


def _width(state: _State, path: Path) -> int:
    """Return the base width of the network in a file; even where it is no VAE, its names are compared later."""
    if _FIRST not in state:
        return CONFIGS["wan2_1"].dim
    shape = tuple(state[_FIRST].shape)
    if len(shape) != 5 or shape[0] < 2 or shape[0] % 2:
        raise DataError(
            f"a tensor of shape {shape}", file=path, key=_FIRST, wanted="(width, 3, 3, 3, 3), an even width"
        )
    return shape[0]


def _expect_width(found: int, wanted: int, path: Path) -> None:
    if found != wanted:
        published = " (the published one)" if wanted == CONFIGS["wan2_1"].dim else ""
        raise DataError(f"a VAE of width {found}", file=path, key=_FIRST, wanted=f"width {wanted}{published}")


def _check(vae: WanVAE, state: _State, path: Path) -> None:
    """Refuse tensors of other names or shapes than the network's, and invalid values."""
    own = vae.state_dict()
    parts = (("missing", sorted(own.keys() - state.keys())), ("unexpected", sorted(state.keys() - own.keys())))
    if any(names for _, names in parts):
        text = "; ".join(f"{len(names)} {kind}: {', '.join(names[:4])}" for kind, names in parts if names)
        raise DataError(text, file=path, wanted=_WANTED)
    for name, value in own.items():
        found = state[name]
        if found.shape != value.shape:
            shapes = f"shape {tuple(found.shape)} instead of {tuple(value.shape)}"
            raise DataError(shapes, file=path, key=name, wanted=_WANTED)
        if not found.is_floating_point() or not torch.isfinite(found.float()).all():
            raise DataError(f"values of {found.dtype}, not all finite", file=path, key=name, wanted="finite weights")
