"""What the network has beside the published one, which it leaves as it is: its output starts at zero."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

ADDED = ("ray_embedder", "control_embedder", "sweep_attention")
ZERO = ("ray_embedder", "control_embedder", "sweep_attention.to_out")  # projections that start at zero


def is_added(name: str) -> bool:
    """Return whether a tensor is of an addition, by its name."""
    return name.partition(".")[0] in ADDED


def start_of(name: str, shape: torch.Size) -> Tensor | None:
    """Return what a tensor starts with that a file of published weights lacks; None for one that it must have.

    The values depend on the name and the shape alone: they are the same on all ranks.
    """
    if not is_added(name):
        return None
    if name.rpartition(".")[0] in ZERO:
        return torch.zeros(shape)
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
    std = shape[-1] ** -0.5
    empty = torch.empty(shape)
    return nn.init.trunc_normal_(empty, std=std, a=-3 * std, b=3 * std, generator=torch.Generator().manual_seed(seed))
