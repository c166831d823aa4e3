"""Exports of trained backbones: safetensors with the published names of their weights."""

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
    body = {name: tensor for name, tensor in weights.items() if not name.startswith(_HEAD)}
    return write_backbones(body, average, folder, step, "backbone")


def write_backbones(
    weights: dict[str, Tensor], average: dict[str, Tensor], folder: Path, step: int, name: str
) -> list[Path]:
    """Write the backbone of a network, and that of its EMA, to ``iter_N_NAME`` and ``iter_N_ema_NAME.safetensors``.

    Args:
        weights: by name, whole, on the CPU; those of the backbone that are not wanted are left out.
        average: likewise; more names than in ``weights`` may be there, none without an EMA.
        folder: for the files.
        step: N, nine digits.
        name: of the files.

    Returns:
        The files; none without weights of a backbone.
    """
    from safetensors.torch import save_file

    paths = []
    for kind, state in (("", weights), ("ema_", {key: average.get(key, weights[key]) for key in weights if average})):
        tensors = {
            key.removeprefix(_BACKBONE): tensor.contiguous()
            for key, tensor in state.items()
            if key.startswith(_BACKBONE)
        }
        if tensors:
            paths.append(folder / f"iter_{step:09d}_{kind}{name}.safetensors")
            with atomic_write(paths[-1], sync=True) as partial:
                save_file(tensors, partial, {"iteration": str(step)})
    return paths
