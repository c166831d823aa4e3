"""Exports of a diffusion transformer, under the names and keys of the published trainer."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from cosmos_lidar.files import atomic_write
from cosmos_lidar.models.dit.lora import is_adapters_only, merge_state
from cosmos_lidar.models.dit.lora_files import adapter_of_state, write_adapter

PREFIX = "net."


def export_weights(weights: dict[str, Tensor], average: dict[str, Tensor], folder: Path, step: int) -> list[Path]:
    """Write ``iter_N_reg_model`` and, where there is an average, ``iter_N_ema_model``, each as .pt and .safetensors.

    Low-rank updates are merged into their layers; without the layers' own weights they are written as adapters in the
    names of PEFT, in the folders ``iter_N_reg_lora`` and ``iter_N_ema_lora``.

    Args:
        weights: by name, whole, on the CPU.
        average: that of the same names; empty without one.
        folder: for the files.
        step: N, nine digits.

    Returns:
        The files.
    """
    from safetensors.torch import save_file

    paths: list[Path] = []
    for kind, tensors in (("reg", weights), ("ema", weights | average if average else {})):
        if not tensors:
            continue
        if is_adapters_only(tensors):
            paths += write_adapter(adapter_of_state(tensors), folder / f"iter_{step:09d}_{kind}_lora")
            continue
        state = {PREFIX + name: tensor.contiguous() for name, tensor in merge_state(tensors).items()}
        plain, safe = (folder / f"iter_{step:09d}_{kind}_model{ending}" for ending in (".pt", ".safetensors"))
        with atomic_write(plain, sync=True) as partial:
            torch.save(state, partial)
        with atomic_write(safe, sync=True) as partial:
            save_file(state, partial, {"iteration": str(step)})
        paths += [plain, safe]
    return paths
