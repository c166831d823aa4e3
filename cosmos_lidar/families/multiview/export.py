"""Exports of multi-view training: safetensors, adapters in PEFT's names, and the layout of the published trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cosmos_lidar.families.dit.export import PREFIX
from cosmos_lidar.families.dit.export import export_weights as export_plain
from cosmos_lidar.files import atomic_write
from cosmos_lidar.models.dit.lora import is_adapters_only, merge_state
from cosmos_lidar.models.dit.predict2 import Predict2Config
from cosmos_lidar.models.dit.predict2.buffers import published_buffers
from cosmos_lidar.training.run_folder import PUBLISHED_POINTER

EMA_PREFIX = "net_ema."
PUBLISHED = "published"  # a folder of its own: the engine takes a run folder with `model/` in it for another trainer's


def export_weights(weights: dict[str, Tensor], average: dict[str, Tensor], folder: Path, step: int) -> list[Path]:
    """Write the exports of a diffusion transformer, and ``published/model/iter_N.pt`` with ``latest_checkpoint.txt``.

    Args:
        weights: by name, whole, on the CPU.
        average: that of the same names; empty without one.
        folder: for the files.
        step: N, nine digits.

    Returns:
        The files.
    """
    paths = export_plain(weights, average, folder, step)
    if is_adapters_only(weights):
        return paths
    return [*paths, *write_published(weights, average, folder / PUBLISHED, step)]


def write_published(weights: dict[str, Tensor], average: dict[str, Tensor], folder: Path, step: int) -> list[Path]:
    """Write ``model/iter_N.pt`` (``net.`` and ``net_ema.``), then the file that names it.

    Low-rank updates are merged. Beside the weights are the buffers that the published loader wants to find.
    """
    state = {PREFIX + name: tensor.contiguous() for name, tensor in merge_state(weights).items()}
    state |= {PREFIX + name: tensor for name, tensor in published_buffers(_shape_of(weights)).items()}
    if average:
        merged = merge_state(weights | average)
        state |= {EMA_PREFIX + name: tensor.float().contiguous() for name, tensor in merged.items()}
    name = f"iter_{step:09d}.pt"
    with atomic_write(folder / "model" / name, sync=True) as partial:
        torch.save(state, partial)
    pointer = folder / PUBLISHED_POINTER
    with atomic_write(pointer, sync=True) as partial:
        partial.write_text(name + "\n", encoding="utf-8")
    return [folder / "model" / name, pointer]


def _shape_of(weights: dict[str, Tensor]) -> Predict2Config:
    """Return what positions depend on: the width of a head, and whether there is a view table."""
    width, head = len(weights["t_embedding_norm.weight"]), len(weights["blocks.0.self_attn.q_norm.weight"])
    table = weights.get("view_embeddings.weight")
    views: dict[str, Any] = {"concat_view_embedding": True, "n_cameras_emb": len(table)} if table is not None else {}
    return Predict2Config(model_channels=width, num_heads=width // head, **views)
