"""One of several gloo ranks: what the small pieces of cosmos_lidar.parallel do between processes.

``collectives_worker.py`` prints, from rank 0, one JSON line {check: what every rank found, in rank order}. The tests
compare them with what one process computes.
"""

from __future__ import annotations

import json
import os
import sys

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from cosmos_lidar.errors import UserError
from cosmos_lidar.kernels import torch_ops
from cosmos_lidar.parallel import ranks as rank_helpers
from cosmos_lidar.parallel.context import BACKENDS, SequenceSplit
from cosmos_lidar.parallel.exchange import exchange_shares, gather_rows, gather_tensors, sum_tensors
from cosmos_lidar.training.checkpoint.full_tensors import full_tensors


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def exchanges(rank: int, world: int) -> dict[str, object]:
    """Values, and gradients of a loss that weighs every element differently on every rank."""
    group = dist.group.WORLD
    found = {}
    x = numbers(2, 4, seed=rank).requires_grad_()
    gathered = torch.stack(gather_tensors(x, group))
    (gathered * numbers(world, 2, 4, seed=10 + rank)).sum().backward()
    found["gathered"], found["gathered gradient"] = gathered.tolist(), x.grad.tolist()
    x = numbers(1 + 2 * rank, 2, seed=50 + rank).requires_grad_()
    rows, found["first row"] = gather_rows(x, group)
    (rows * numbers(4, 2, seed=60 + rank)).sum().backward()
    found["rows"], found["rows gradient"] = rows.tolist(), x.grad.tolist()
    x = numbers(3, seed=rank).requires_grad_()
    total = sum_tensors(x, group)
    (total * numbers(3, seed=20 + rank)).sum().backward()
    found["sum"], found["sum gradient"] = total.tolist(), x.grad.tolist()
    x = numbers(4, 3, seed=rank).requires_grad_()
    swapped = exchange_shares(x, group, 0, 1)
    (swapped * numbers(*swapped.shape, seed=30 + rank)).sum().backward()
    found["swapped"], found["swapped gradient"] = swapped.tolist(), x.grad.tolist()
    return found


def attention(kind: str) -> list:
    """Attention over 2 views of 4 tokens and 2 heads, each rank with its part of the tokens; joined again."""
    split = SequenceSplit(dist.group.WORLD)
    whole = {name: numbers(1, 8, 2 * 3, seed=seed) for seed, name in enumerate("qkv")}
    mine = {name: part.unflatten(-1, (2, 3)) for name, part in split.split(2, **whole).items()}
    out = BACKENDS[kind](torch_ops.attention, dist.group.WORLD)(mine["q"], mine["k"], mine["v"])
    return split.join(2, out.flatten(2)).tolist()


def from_first(rank: int) -> list:
    """Results and errors of rank 0 are those of all."""
    calls: list[int] = []

    def work() -> str:
        calls.append(rank)
        return f"made by {rank}"

    def refuse() -> None:
        raise UserError(f"refused by {rank}")

    result = rank_helpers.from_first(work)
    try:
        rank_helpers.from_first(refuse)
    except UserError as error:
        return [result, str(error), calls, rank_helpers.is_first()]
    return [result, "no error"]


def main() -> None:
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    mesh = init_device_mesh("cpu", (world,))
    sharded = distribute_tensor(torch.arange(5.0), mesh, [Shard(0)])
    full = full_tensors({"sharded": sharded, "plain": torch.full((2,), float(rank))})
    found = {
        "exchanges": exchanges(rank, world),
        "attention": {kind: attention(kind) for kind in ("ulysses", "gather")},
        "objects": rank_helpers.gather_objects({"rank": rank}),
        "missing": [rank_helpers.broadcast_missing(own) for own in (f"of {rank}" if rank else None, None, rank)],
        "from first": from_first(rank),
        "full": {name: tensor.tolist() for name, tensor in full.items()},
    }
    everyone = rank_helpers.gather_objects(found)
    if rank == 0:
        sys.stdout.write(json.dumps(everyone) + "\n")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
