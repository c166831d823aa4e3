"""A loss or a gradient that is not finite: who, where, and the batch on disk, before anything is updated."""

from __future__ import annotations

from collections.abc import Mapping
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


def first_bad_gradient(network: nn.Module) -> str:
    """Name the parameter whose gradient is not finite and which backward reached first: the last one in order."""
    bad = [name for name, parameter in network.named_parameters() if not _finite(_gradient(parameter))]
    return bad[-1] if bad else ""


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


def _gradient(parameter: Tensor) -> object:
    return None if parameter.grad is None else local_part(parameter.grad)


def _finite(value: object) -> bool:
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool(torch.isfinite(local_part(value.detach())).all())
    if isinstance(value, (list, tuple)):
        return all(_finite(item) for item in value)
    return True
