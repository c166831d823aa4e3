"""Exports: weights and TorchScript files that load in a fresh process and give the same numbers."""

from __future__ import annotations

from pathlib import Path

import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.families.dit.export import export_dit
from cosmos_lidar.files import read_tensors, write_whole
from cosmos_lidar.models.tokenizer.export import PREFIX, export_tokenizer, network_of
from cosmos_lidar.parallel.ranks import is_first
from cosmos_lidar.training.checkpoint.full_tensors import full_tensors
from cosmos_lidar.training.checkpoint.manifest import verify
from cosmos_lidar.training.checkpoint.reading import load_full
from cosmos_lidar.training.ema import Ema
from cosmos_lidar.training.model import TrainedModel
from cosmos_lidar.training.overrides import read_key


def export_trained(model: TrainedModel, ema: Ema | None, folder: Path, step: int) -> None:
    """Write the exports of a tokenizer in training; every process calls this, the first one writes."""
    state = full_tensors(model.network.state_dict())
    average = full_tensors(ema.average) if ema is not None else None
    if is_first():
        averaged = network_of(state | average, step) if average is not None else None
        export_tokenizer(network_of(state, step), averaged, folder, step)


def export_checkpoint(checkpoint: Path, folder: Path) -> list[Path]:
    """Write the exports of a full checkpoint (a folder ``iter_N``) or of a file of weights (``.pt``).

    Returns:
        The files; the configuration among them where the checkpoint holds it.

    Raises:
        DataError: no checkpoint of this program, or a damaged one.
    """
    if not checkpoint.is_dir():
        weights, step = _read_weights(checkpoint)
        return export_tokenizer(network_of(weights, step), None, folder, step)
    manifest = verify(checkpoint)
    step = int(manifest["step"])
    state, average = load_full(checkpoint, "model."), load_full(checkpoint, "ema.")
    folder.mkdir(parents=True, exist_ok=True)
    if read_key(checkpoint / "config.yaml", "family") in ("dit", "lidargen"):
        paths = export_dit(state, average, folder, step)
    else:
        averaged = network_of(state | average, step) if average else None
        paths = export_tokenizer(network_of(state, step), averaged, folder, step)
    text = (checkpoint / "config.yaml").read_text(encoding="utf-8")
    write_whole(folder / "config.yaml", lambda partial: partial.write_text(text, encoding="utf-8"))
    return [*paths, folder / "config.yaml"]


def _read_weights(path: Path) -> tuple[dict[str, torch.Tensor], int]:
    content = read_tensors(path)
    weights, step = content.get("model"), content.get("iteration")
    if not isinstance(weights, dict) or not isinstance(step, int):
        raise DataError("no weights in it", file=path, key="model", wanted="a folder iter_N of a run, or iter_N.pt")
    return {name.removeprefix(PREFIX): value for name, value in weights.items()}, step
