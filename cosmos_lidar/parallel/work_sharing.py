"""Work that the ranks of a ``torchrun`` share among themselves: other pieces each, or each piece by several."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from cosmos_lidar.errors import UserError
from cosmos_lidar.parallel.mesh import MeshSizes, make_mesh, process_count, start_processes


@dataclass(frozen=True)
class Share:
    """The place of this rank among those of a ``torchrun``; (0, 1) where there is only one.

    Attributes:
        rank: of the group of processes that do the same pieces together; of the process, where none do.
        world: number of such groups.
        context: mesh of the ranks of this group; None where each rank works alone.
    """

    rank: int
    world: int
    context: DeviceMesh | None = None

    @property
    def writes(self) -> bool:
        """Whether this rank is the one of its group that writes what they made."""
        return self.context is None or self.context.get_local_rank() == 0

    def wait(self) -> None:
        """Wait until every rank has come here."""
        if dist.is_initialized():
            dist.barrier()

    def device(self, device: torch.device) -> torch.device:
        """Return the GPU of this rank where ``device`` is "cuda" without a number, else ``device``."""
        if device.type == "cuda" and device.index is None and dist.is_initialized():
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        return device


@contextmanager
def shared_work(context: int = 1, device_type: str = "cpu") -> Iterator[Share]:
    """Join the ranks of a ``torchrun``, if this is one of them, until the end of the block.

    Args:
        context: processes that do each piece together; neighbors by their number.
        device_type: on which these compute; processes that work alone only wait for each other, and need no GPU for it.

    Raises:
        UserError: the number of ranks is no multiple of ``context``.
    """
    world = process_count()
    if context < 1 or world % context:
        raise UserError(f"{context} processes for each piece of work, of {world}: start a multiple, with torchrun")
    if world == 1:
        yield Share(0, 1)
        return
    together = context > 1
    if together and device_type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    start_processes(device_type if together else "cpu")
    try:
        sizes = MeshSizes(data_replicate=world // context, context=context)
        mesh = make_mesh(sizes, device_type)["context"] if together else None
        yield Share(dist.get_rank() // context, world // context, mesh)
    finally:
        dist.destroy_process_group()
