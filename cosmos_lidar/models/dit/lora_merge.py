"""Merging of LoRA adapters into files of weights: W + alpha / rank B A, under the plain names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from cosmos_lidar.errors import UserError
from cosmos_lidar.files import atomic_write
from cosmos_lidar.models.dit.lora import SCALE, A, add_update, is_adapter_tensor, merge_state
from cosmos_lidar.models.dit.lora_files import check_fits, read_adapter
from cosmos_lidar.models.dit.predict2.added import is_added
from cosmos_lidar.models.dit.weights import read_dit_tensors
from cosmos_lidar.models.wrapped_weights import unwrap

PREFIX = "net."
_WANTED = "weights of a diffusion transformer"


def merge_files(base: Path, adapters: Sequence[Path], out: Path, ema: bool = False, alpha: float = 0.0) -> int:
    """Write the weights of a file with its adapters, and further ones, merged; returns the number of merged layers.

    Args:
        base: published or own weights, also of sharded safetensors; a checkpoint of the published trainer has adapters
            in it.
        adapters: folders or files of :func:`~cosmos_lidar.models.dit.lora_files.read_adapter`, all of them added.
        out: ``.safetensors`` or ``.pt``; names get the published prefix ``net.``.
        ema: take the EMA weights of a checkpoint that holds both.
        alpha: scale times rank of adapters inside ``base``, which does not record it; 0: their rank (published).

    Raises:
        DataError: a file that cannot be read, or an adapter of other weights.
        UserError: nothing to merge, or another kind of file for the result.
    """
    if out.suffix not in (".safetensors", ".pt"):
        raise UserError(f"{out}: expected a name that ends in .safetensors or .pt")
    tensors, _ = read_dit_tensors(base, _WANTED, ema)
    state = with_scales(unwrap(tensors, base), alpha)
    own = sum(name.endswith(f".{SCALE}") and is_adapter_tensor(name) for name in state)
    found = [read_adapter(path) for path in adapters]
    if not own and not found:
        raise UserError(f"{base} has no adapters in it: give the folder of one")
    plain = merge_state(state)
    added = {name: value for adapter in found for name, value in adapter.saved.items()
             if is_added(name)}  # fmt: skip
    for adapter, path in zip(found, adapters, strict=True):
        check_fits(adapter, added | plain, path)  # before any is added: a fingerprint is that of the plain weights
    for adapter in found:
        for layer, (first, second) in adapter.factors.items():
            add_update(plain, layer, first, second, adapter.scale)
        plain.update(adapter.saved)
    _write({PREFIX + name: tensor.contiguous() for name, tensor in plain.items()}, out)
    return own + sum(len(adapter.factors) for adapter in found)


def with_scales(state: Mapping[str, Tensor], alpha: float = 0.0) -> dict[str, Tensor]:
    """Return a state dict of the published trainer, or of PEFT, in this project's names.

    Args:
        state: tensors by name; ``base_layer`` is left out of their names, and adapters get the scales that they lack.
        alpha: scale times rank where the state has no scales; 0: the rank.
    """
    named = {name.replace(".base_layer.", "."): tensor for name, tensor in state.items()}
    for name, tensor in list(named.items()):
        if f".{A}." in name and name.endswith(".weight"):
            scale = (alpha or len(tensor)) / len(tensor)
            named.setdefault(f"{name.removesuffix('weight')}{SCALE}", torch.tensor(scale))
    return named


def _write(state: dict[str, Tensor], out: Path) -> None:
    from safetensors.torch import save_file

    with atomic_write(out, sync=True) as partial:
        if out.suffix == ".safetensors":
            save_file(state, partial, {"format": "pt"})
        else:
            torch.save(state, partial)
