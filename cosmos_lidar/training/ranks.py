"""Small things between processes."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist


def gather_objects(own: Any) -> list[Any]:
    """Return ``own`` of every process, in rank order, on every process."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return [own]
    everyone: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, own)
    return everyone


def is_first() -> bool:
    """Tell whether this is process 0, the one that writes."""
    return not dist.is_initialized() or dist.get_rank() == 0
