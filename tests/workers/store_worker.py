"""One of several processes: save a mesh's tensors, or load them on another mesh and compare them bit for bit.

``torchrun … store_worker.py save|load FOLDER MESH`` where MESH is ``1``, ``shard``, ``grid``, ``network`` or
``network1``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.parallel.apply import parallelize
from cosmos_lidar.parallel.mesh import make_mesh, mesh_sizes
from cosmos_lidar.training.checkpoint.manifest import checkpoint_path
from cosmos_lidar.training.checkpoint.reading import load_tensors
from cosmos_lidar.training.checkpoint.store import CheckpointStore


def whole_tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = {"uneven": (7, 5), "even": (8, 4), "tall": (3, 6), "vector": (5,)}
    made = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    half = torch.randn(4, generator=generator).bfloat16()
    return made | {"plain": torch.arange(6), "scalar": torch.tensor(2.5), "half": half}


def spread(whole: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    """Lay the float matrices out over all processes; the others are the same on each."""
    world = dist.get_world_size()
    if kind == "shard":
        mesh, places = init_device_mesh("cpu", (world,)), lambda tensor: [Shard(0)]
    else:
        mesh = init_device_mesh("cpu", (2, world // 2))
        places = lambda tensor: [Shard(0), Shard(1) if tensor.ndim > 1 else Replicate()]  # noqa: E731
    sharded = {"uneven", "even", "tall", "vector"}
    return {n: distribute_tensor(t, mesh, places(t)) if n in sharded else t.clone() for n, t in whole.items()}


def network_tensors(world: int) -> dict[str, Tensor]:
    """Weights of a small transformer, split over tensors and sharded where there are processes for it."""
    torch.manual_seed(0)
    network = build_dit("faditv2_debug", num_blocks=1)
    if world > 1:
        sizes = mesh_sizes(0, max(world // 2, 1), 1, 2, world)
        parallelize(network, network.parallel_plan(), make_mesh(sizes, "cpu"))
    return dict(network.state_dict())


def main() -> None:
    what, folder, kind = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(1)
    if not kind.endswith("1"):
        dist.init_process_group("gloo")
    world = dist.get_world_size() if dist.is_initialized() else 1
    if kind.startswith("network"):
        tensors = network_tensors(world)
        wanted = {name: _full(tensor).clone() for name, tensor in tensors.items()}
    else:
        wanted = whole_tensors()
        tensors = wanted if world == 1 else spread(wanted, kind)
    if what == "save":
        store = CheckpointStore(folder)
        store.save(1, tensors, {"rank": 0}, {}, {})
        outcome = store.wait()
        assert outcome.error is None, outcome.error
    else:
        empty = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
        load_tensors(checkpoint_path(folder, 1), empty)
        for name, tensor in empty.items():
            assert torch.equal(_full(tensor), wanted[name]), name
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def _full(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


if __name__ == "__main__":
    main()
