"""Work that the processes of a ``torchrun`` share among themselves without talking."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Share:
    """The place of this process among those of a ``torchrun``; (0, 1) where there is only one."""

    rank: int
    world: int

    def wait(self) -> None:
        """Wait until every process has come here."""
        if self.world > 1:
            dist.barrier()

    def device(self, wish: torch.device) -> torch.device:
        """Return the GPU of this process where GPUs are wished for, else ``wish``."""
        if wish.type == "cuda" and wish.index is None and self.world > 1:
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        return wish


@contextmanager
def shared_work() -> Iterator[Share]:
    """Join the processes of a ``torchrun``, if this is one of them, until the end of the block."""
    world = int(os.environ.get("WORLD_SIZE", 1))
    if world == 1:
        yield Share(0, 1)
        return
    dist.init_process_group("gloo")
    try:
        yield Share(dist.get_rank(), world)
    finally:
        dist.destroy_process_group()
