"""Exports of a diffusion transformer, under the names and keys of the published trainer."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from cosmos_lidar.files import write_whole
from cosmos_lidar.parallel.ranks import is_first
from cosmos_lidar.training.checkpoint.full_tensors import full_tensors
from cosmos_lidar.training.ema import Ema
from cosmos_lidar.training.model import TrainedModel

PREFIX = "net."


def export_dit(weights: dict[str, Tensor], average: dict[str, Tensor], folder: Path, step: int) -> list[Path]:
    """Write ``iter_N_reg_model`` and, where there is an average, ``iter_N_ema_model``, each as .pt and .safetensors.

    Args:
        weights: by name, whole, on the CPU.
        average: that of the same names; empty without one.
        folder: for the files.
        step: N, nine digits.

    Returns:
        The files.
    """
    from safetensors.torch import save_file

    paths = []
    for kind, tensors in (("reg", weights), ("ema", weights | average if average else {})):
        if not tensors:
            continue
        state = {PREFIX + name: tensor.contiguous() for name, tensor in tensors.items()}
        plain, safe = (folder / f"iter_{step:09d}_{kind}_model{ending}" for ending in (".pt", ".safetensors"))
        write_whole(plain, lambda partial, state=state: torch.save(state, partial))
        write_whole(safe, lambda partial, state=state: save_file(state, partial, {"iteration": str(step)}))
        paths += [plain, safe]
    return paths


def export_model(model: TrainedModel, ema: Ema | None, folder: Path, step: int) -> None:
    """Put a model in training together and export it; every process calls this."""
    weights = full_tensors(model.network.state_dict())
    average = full_tensors(ema.average) if ema is not None else {}
    if is_first():
        export_dit(weights, average, folder, step)
