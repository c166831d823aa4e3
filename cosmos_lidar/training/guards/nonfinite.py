"""A loss or a gradient that is not finite: who, where, and the batch on disk, before anything is updated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cosmos_lidar.files import atomic_write
from cosmos_lidar.parallel.clip import local_part
from cosmos_lidar.training.batches import batch_content


def first_bad_output(network: nn.Module, again: Any) -> str:
    """Run ``again()`` (the same forward pass) and name the first module of ``network`` whose output is not finite.

    Returns:
        The name, with what came in; empty when every output is finite.
    """
    found: list[str] = []

    def look(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if not found and not _finite(output):
            came = "finite" if _finite(inputs) else "not finite either"
            found.append(f"{name or 'network'} ({type(module).__name__}); what came in was {came}")

    hooks = [
        module.register_forward_hook(lambda module, inputs, output, name=name: look(name, module, inputs, output))
        for name, module in network.named_modules()
    ]
    try:
        with torch.no_grad():
            again()
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else ""


def first_bad_gradient(network: nn.Module, again: Callable[[], Any]) -> str:
    """Run forward and backward ``again`` and name what the first gradient that is not finite belongs to, on this rank.

    Gradients are looked at where they arise, before they are reduced over ranks. All ranks call this.

    Args:
        network: in training, sharded or not.
        again: runs the same forward and backward passes.

    Returns:
        The name of a parameter, or of a module for the gradient of its output; empty when all are finite.
    """
    found: list[str] = []
    hooks: list[Any] = []

    def watch(tensor: object, name: str) -> None:
        if isinstance(tensor, Tensor) and tensor.requires_grad:
            hooks.append(tensor.register_hook(lambda gradient: found.append(name) if not _finite(gradient) else None))

    def look(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        for tensor in output if isinstance(output, (list, tuple)) else (output,):
            watch(tensor, f"the output of {name or 'the network'} ({type(module).__name__})")

    def before(name: str, module: nn.Module, inputs: Any) -> None:
        for own, parameter in module.named_parameters(recurse=False):  # gathered by now, where they are sharded
            watch(parameter, f"{name}.{own}".lstrip("."))

    for name, module in network.named_modules():
        hooks.append(module.register_forward_hook(partial(look, name)))
        hooks.append(module.register_forward_pre_hook(partial(before, name)))
    try:
        again()
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else ""


def dump_batches(folder: Path, step: int, rank: int, batches: list[Any], notes: Mapping[str, object]) -> Path:
    """Write the batches of a step to ``folder/step_N/rank_R.pt``, to be read without unpickling.

    The file holds ``step``, ``rank``, the ``notes`` and ``batch``; of accumulated batches, the list ``batches``.
    """
    path = folder / f"step_{step:09d}" / f"rank_{rank:05d}.pt"
    contents = [batch_content(batch) for batch in batches]
    named = {"batch": contents[0]} if len(contents) == 1 else {"batches": contents}
    content = {"step": step, "rank": rank, **notes, **named}
    with atomic_write(path, sync=True) as partial:
        torch.save(content, partial)
    return path


def _finite(value: object) -> bool:
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool(torch.isfinite(local_part(value.detach())).all())
    if isinstance(value, (list, tuple)):
        return all(_finite(item) for item in value)
    return True
