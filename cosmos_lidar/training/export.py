"""Exports: weights and TorchScript files that load in a fresh process and give the same numbers."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from cosmos_lidar.training.checkpoints import write_whole

PREFIX = "network."


def export_tokenizer(network: nn.Module, averaged: nn.Module | None, folder: Path, step: int) -> list[Path]:
    """Write ``iter_N.pt``, ``iter_N.safetensors``, ``iter_N_enc.jit``, ``iter_N_dec.jit`` and ``iter_N_ema.jit``.

    Args:
        network: the trained network, on any device.
        averaged: the same with averaged weights; None without EMA: ``_ema.jit`` then holds the trained weights, as the
            published trainer does.
        folder: the ``checkpoints`` folder.
        step: N, nine digits.

    Returns:
        The files, each whole.
    """
    from safetensors.torch import save_file

    from cosmos_lidar.models.tokenizer import export_jit

    stem = f"iter_{step:09d}"
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    weights = {"model": {PREFIX + name: value for name, value in state.items()}, "iteration": step}
    paths = [folder / f"{stem}.pt", folder / f"{stem}.safetensors"]
    write_whole(paths[0], lambda partial: torch.save(weights, partial))
    write_whole(paths[1], lambda partial: save_file(state, partial, metadata={"iteration": str(step)}))
    return paths + export_jit(network, averaged, folder, stem)
