"""Exports of ALSO pre-training: the backbone alone, with the published names of its weights."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from cosmos_lidar.files import atomic_write

_BACKBONE, _HEAD = "backbone.", "backbone.classifier."


def export_weights(weights: dict[str, Tensor], average: dict[str, Tensor], folder: Path, step: int) -> list[Path]:
    """Write ``iter_N_backbone.safetensors`` and, where there is an EMA, ``iter_N_ema_backbone.safetensors``.

    The files have the names of ``pretrained_backbone_also_*.ckpt``, without the last linear layer, which belongs to the
    pretext task: ``load_backbone`` and ``cosmos-lidar convert-backbone`` read them.

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
    for kind, state in (("", weights), ("ema_", weights | average if average else {})):
        tensors = {
            name.removeprefix(_BACKBONE): tensor.contiguous()
            for name, tensor in state.items()
            if name.startswith(_BACKBONE) and not name.startswith(_HEAD)
        }
        if not tensors:
            continue
        paths.append(folder / f"iter_{step:09d}_{kind}backbone.safetensors")
        with atomic_write(paths[-1], sync=True) as partial:
            save_file(tensors, partial, {"iteration": str(step)})
    return paths
