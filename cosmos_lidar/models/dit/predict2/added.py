"""What the network has beside the published one, which it leaves as it is: its output starts at zero."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

ADDED = ("ray_embedder", "control_embedder", "sweep_attention", "control_blocks", "control_outputs")
_ZERO = ("ray_embedder", "control_embedder", "sweep_attention.to_out")  # projections that start at zero
COPIES = "control_blocks."  # of ``blocks.``


def is_added(name: str) -> bool:
    """Return whether a tensor is of an addition, by its name."""
    return name.partition(".")[0] in ADDED


def starts_at_zero(module: str) -> bool:
    """Return whether the weights of a module start at zero, by its name."""
    return module in _ZERO or module.startswith("control_outputs.")


def start_of(name: str, shape: torch.Size, content: Mapping[str, Tensor]) -> Tensor | None:
    """Return what a tensor starts with that a file of published weights lacks; None for one that it must have.

    Copied blocks start as those of the file. Other values depend on the name and the shape alone: they are the same on
    all ranks.

    Args:
        name: of the tensor.
        shape: of it.
        content: tensors of the file, by name.
    """
    if not is_added(name):
        return None
    if starts_at_zero(name.rpartition(".")[0]):
        return torch.zeros(shape)
    if name.startswith(COPIES):
        original = content.get(name.removeprefix("control_"))
        return None if original is None else original.clone()
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
    std = shape[-1] ** -0.5
    empty = torch.empty(shape)
    return nn.init.trunc_normal_(empty, std=std, a=-3 * std, b=3 * std, generator=torch.Generator().manual_seed(seed))
