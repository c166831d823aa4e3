"""Mesh dimensions (HSDP x CP x TP): validation and ``DeviceMesh``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.plan import ParallelPlan
from cosmos_lidar.parallel.rendezvous import meet

_BOTH = "data_shard_context"
NAMES = ("data_replicate", "data_shard", "context", "tensor")


@dataclass(frozen=True)
class MeshSizes:
    """The sizes of a mesh; ranks are numbered with ``tensor`` fastest, then ``context``, so that these stay in a node.

    Attributes:
        data_replicate: groups that hold a whole copy each.
        data_shard: ranks that share a copy and read other data.
        context: ranks that share each sample.
        tensor: ranks that share each layer.
    """

    data_replicate: int = 1
    data_shard: int = 1
    context: int = 1
    tensor: int = 1

    @property
    def world(self) -> int:
        """Number of ranks."""
        return self.data_replicate * self.data_shard * self.context * self.tensor

    @property
    def data(self) -> int:
        """Number of groups that read other data."""
        return self.data_replicate * self.data_shard

    def data_rank(self, rank: int) -> int:
        """Return which of the ``data`` groups rank ``rank`` belongs to."""
        return rank // (self.context * self.tensor)

    def __str__(self) -> str:
        """Such as ``data_shard 2 x tensor 2``."""
        parts = [f"{name} {getattr(self, name)}" for name in NAMES if getattr(self, name) > 1]
        return " x ".join(parts) or "one process"


def process_rank() -> int:
    """Return this rank's number, as its launcher set it."""
    return int(os.environ.get("RANK", 0))


def process_count() -> int:
    """Return the number of ranks, as their launcher set it."""
    return int(os.environ.get("WORLD_SIZE", 1))


def mesh_sizes(data_replicate: int, data_shard: int, context: int, tensor: int, world: int) -> MeshSizes:
    """Return the sizes for ``world`` processes; ``data_replicate`` 0 takes what the others leave.

    Raises:
        UserError: a size below 1, or a product that is not ``world``.
    """
    asked = dict(zip(NAMES, (data_replicate, data_shard, context, tensor), strict=True))
    for name, size in asked.items():
        if size < (0 if name == "data_replicate" else 1):
            raise UserError(f"parallel.{name}={size}: at least 1")
    rest = data_shard * context * tensor
    if not data_replicate and world % rest == 0:
        asked["data_replicate"] = world // rest
    sizes = MeshSizes(**asked)
    if sizes.world != world or not sizes.data_replicate:
        product = " x ".join(f"{name} {size or '?'}" for name, size in asked.items())
        most = max((size for size in range(1, world + 1) if world % (size * context * tensor) == 0), default=0)
        fix = f"parallel.data_replicate=0 parallel.data_shard={most}" if most else f"start {rest} processes"
        raise UserError(f"parallel: {product} does not make the {world} processes of this run; valid: {fix}")
    return sizes


def check_plan(sizes: MeshSizes, plan: ParallelPlan, attention: str = "ulysses") -> None:
    """Refuse a mesh that a network cannot be divided over.

    Raises:
        UserError: the message names the option and the valid sizes.
    """
    if sizes.tensor > 1 and not plan.column:
        raise UserError(f"parallel.tensor={sizes.tensor}: this network has no layers to split: parallel.tensor=1")
    if sizes.context > 1 and not plan.context:
        raise UserError(f"parallel.context={sizes.context}: this network cannot share a sample: parallel.context=1")
    if plan.heads and plan.heads % sizes.tensor:
        raise UserError(
            f"parallel.tensor={sizes.tensor} does not divide the {plan.heads} heads; valid: {_divisors(plan.heads)}"
        )
    local = plan.heads // sizes.tensor if plan.heads else 0
    if plan.context == "sequence" and attention == "ulysses" and local % sizes.context:
        raise UserError(
            f"parallel.context={sizes.context} does not divide the {local} heads of each process (parallel.attention="
            f"ulysses); valid: {_divisors(local)}, or parallel.attention=gather"
        )


def make_mesh(sizes: MeshSizes, device_type: str) -> DeviceMesh:
    """Return the mesh with the four dimensions; every rank calls this, with the process group initialized."""
    shape = (sizes.data_replicate, sizes.data_shard, sizes.context, sizes.tensor)
    mesh = init_device_mesh(device_type, shape, mesh_dim_names=NAMES)
    if sizes.data_shard > 1 and sizes.context > 1:
        mesh["data_shard", "context"]._flatten(_BOTH)
    return mesh


def shard_mesh(mesh: DeviceMesh) -> DeviceMesh:
    """Return what weights are sharded over: data_shard x context, below ``data_replicate`` where that is more than 1.

    Processes that share a sample share weights too: each sees a part of the gradient, as those with other data do.
    """
    sizes = {name: mesh[name].size() for name in NAMES}
    if sizes["data_shard"] > 1 and sizes["context"] > 1:
        shard = _BOTH
    else:
        shard = "context" if sizes["context"] > 1 else "data_shard"
    return mesh["data_replicate", shard] if sizes["data_replicate"] > 1 else mesh[shard]


def start_processes(device_type: str, timeout_s: float = 1800.0) -> None:
    """Join the process group if there is none: of the launcher's processes, or of this one alone.

    Args:
        device_type: ``cpu`` or ``cuda``.
        timeout_s: in which all ranks must arrive; 0 waits forever. Collectives may take twice as long: what hangs is
            the work of :mod:`cosmos_lidar.training.guards.hangs`.

    Raises:
        RanksMissingError: some ranks did not arrive; the message names them.
    """
    import torch.distributed as dist

    if dist.is_initialized():
        return
    backend = "cpu:gloo,cuda:nccl" if device_type == "cuda" else "gloo"
    world = process_count()
    if world == 1:
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
        return
    store = meet(process_rank(), world, timeout_s)
    longest = timedelta(seconds=2 * timeout_s) if timeout_s else timedelta(days=7)
    dist.init_process_group(backend, store=store, rank=process_rank(), world_size=world, timeout=longest)


def _divisors(number: int) -> str:
    return ", ".join(str(size) for size in range(1, number + 1) if number % size == 0)
