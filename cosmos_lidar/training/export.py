"""Exports: weights and TorchScript files that load in a fresh process and give the same numbers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from cosmos_lidar.errors import DataError
from cosmos_lidar.training.files import read_tensors, write_whole

PREFIX = "network."


def export_tokenizer(network: nn.Module, averaged: nn.Module | None, folder: Path, step: int) -> list[Path]:
    """Write ``iter_N.pt``, ``iter_N.safetensors``, ``iter_N_enc.jit``, ``iter_N_dec.jit`` and ``iter_N_ema.jit``.

    Args:
        network: the trained network, on any device.
        averaged: the same with averaged weights: all three TorchScript files then hold these, as the published trainer
            does; None without EMA.
        folder: the ``checkpoints`` folder.
        step: N, nine digits.

    Returns:
        The files, each whole.
    """
    from safetensors.torch import save

    from cosmos_lidar.models.tokenizer import export_jit

    stem = f"iter_{step:09d}"
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    plain, safe = folder / f"{stem}.pt", folder / f"{stem}.safetensors"
    write_whole(plain, lambda partial: torch.save(_published(state, step), partial))
    write_whole(safe, lambda partial: partial.write_bytes(save(state, {"iteration": str(step)})))
    return [plain, safe, *export_jit(network, folder, stem, averaged)]


def export_checkpoint(checkpoint: Path, folder: Path) -> list[Path]:
    """Write the exports of a full checkpoint (``.ckpt``) or of a file of weights (``.pt``), and its configuration.

    Returns:
        The files.

    Raises:
        DataError: the file is no checkpoint of this program.
    """
    content = read_tensors(checkpoint)
    weights = content.get("state_dict", content.get("model"))
    step = content.get("global_step", content.get("iteration"))
    if not isinstance(weights, dict) or not isinstance(step, int):
        raise DataError("no weights in it", file=checkpoint, key="state_dict", wanted="iter_N.ckpt or iter_N.pt")
    average = content.get("callbacks", {}).get("Ema", {}).get("average")
    network = _build({name.removeprefix(PREFIX): value for name, value in weights.items()}, step)
    averaged = _build(network.state_dict() | average, step) if average else None
    paths = export_tokenizer(network, averaged, folder, step)
    if "run" in content:
        config = folder / "config.yaml"
        write_whole(config, lambda partial: partial.write_text(yaml.safe_dump(content["run"], sort_keys=False)))
        paths.append(config)
    return paths


def _build(state: dict[str, torch.Tensor], step: int) -> nn.Module:
    """Return the network that has these weights, built from their names and shapes."""
    from cosmos_lidar.models.tokenizer import load_tokenizer

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"iter_{step:09d}.pt"
        torch.save(_published(state, step), path)
        return load_tokenizer(path)


def _published(state: dict[str, torch.Tensor], step: int) -> dict[str, Any]:
    return {"model": {PREFIX + name: value for name, value in state.items()}, "iteration": step}
