"""Rank helpers: gather, broadcast, rank-0 execution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

from cosmos_lidar.errors import UserError


def gather_objects(own: Any) -> list[Any]:
    """Return ``own`` of every rank, in rank order, on every rank."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return [own]
    everyone: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, own)
    return everyone


def mean_over_ranks(value: float, device: torch.device) -> float:
    """Return the mean of ``value`` over all ranks, float64; every rank calls this."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return value
    total = torch.tensor(value, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return float(total) / dist.get_world_size()


def broadcast_missing(own: Any) -> Any:
    """Return ``own``, or where that is None, that of the first rank that has one, broadcast; None when no rank has.

    All ranks call this; objects are sent only where some rank has none.
    """
    have = gather_objects(own is not None)
    if all(have) or not any(have):
        return own
    found = [own]
    dist.broadcast_object_list(found, src=have.index(True))
    return found[0] if own is None else own


def is_first() -> bool:
    """Tell whether this is rank 0, the one that writes."""
    return not dist.is_initialized() or dist.get_rank() == 0


def from_first(work: Callable[[], Any]) -> Any:
    """Do ``work`` on rank 0 alone and return its result on all; its UserError is raised on all, too."""
    answer: list[Any] = [None, None]
    if is_first():
        try:
            answer[0] = work()
        except UserError as error:
            answer[1] = error
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.broadcast_object_list(answer, src=0)
    if answer[1] is not None:
        raise answer[1]
    return answer[0]
