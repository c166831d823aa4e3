"""Formulas of traffic against the collectives that a step really calls, counted on a fake process group."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

pytest.importorskip("nemo")

from cosmos_lidar.families.dit.job import make_dry_model
from cosmos_lidar.parallel.mesh import MeshSizes, make_mesh
from cosmos_lidar.recipes import dit
from cosmos_lidar.training.overrides import apply_overrides
from cosmos_lidar.training.preflight.prediction import _fake_process_group
from cosmos_lidar.training.preflight.traffic import division_of, transfers
from cosmos_lidar.training.preflight.workload import count_sample

# words of an operation's name -> kind of collective; all reduce what they name but for scattered and gathered tensors
KINDS = {"reduce_scatter": "reduce_scatter", "allgather": "all_gather", "all_gather": "all_gather",
         "allreduce": "all_reduce", "all_reduce": "all_reduce", "alltoall": "all_to_all"}  # fmt: skip


class Collectives(TorchDispatchMode):
    """Sums the bytes of the largest tensor of each collective, and counts the calls, by kind."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name = str(func)
        if name.startswith(("c10d", "_c10d_functional")) and "wait" not in name:
            kind = next(kind for word, kind in KINDS.items() if word in name)
            out = func(*args, **(kwargs or {}))
            tensors = [one for one in tree_leaves((args, out)) if isinstance(one, Tensor)]
            self.sizes[kind] += max(one.numel() * one.element_size() for one in tensors)
            self.calls[kind] += 1
            return out
        return func(*args, **(kwargs or {}))


def counted(run: Any, sizes: MeshSizes) -> Collectives:
    """Return the collectives of one forward and backward pass of rank 0."""
    with torch.device("meta"):
        model = make_dry_model(run)
    with _fake_process_group(sizes.world):
        model._device_mesh = make_mesh(sizes, "cpu")
        model.parallelize()
        with FakeTensorMode(allow_non_fake_inputs=True):
            model.network.to_empty(device="cpu")
            batch = model.example_batch(run.data.batch_size)
            with Collectives() as found:
                loss, _ = model.run_batches([batch], [1.0])
                loss.backward()
    assert not dist.is_initialized()
    return found


def predicted(run: Any, sizes: MeshSizes) -> tuple[dict[str, float], Counter[str]]:
    """Return bytes and calls by kind."""
    with torch.device("meta"):
        model = make_dry_model(run)
    division = division_of(run, sizes, 1, model.network.parallel_plan().context)
    volumes: defaultdict[str, float] = defaultdict(float)
    calls: Counter[str] = Counter()
    for one in transfers(count_sample(model), division):
        volumes[one.kind] += one.count * one.size
        calls[one.kind] += one.count
    return volumes, calls


def configured(*options: str) -> Any:
    """Return a small transformer, in bf16."""
    return apply_overrides(dit.debug(), ["trainer.precision=bf16", *options])


@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        (MeshSizes(data_replicate=2, data_shard=2), ()),
        (MeshSizes(data_shard=2, context=2), ("parallel.recompute=full",)),
        (MeshSizes(context=2), ("parallel.attention=gather",)),
    ],
)
def test_volumes_are_those_of_a_step(sizes: MeshSizes, options: tuple[str, ...]) -> None:
    run = configured(*options)
    found = counted(run, sizes)
    volumes, calls = predicted(run, sizes)
    assert set(found.sizes) == set(volumes)
    for kind, size in found.sizes.items():
        assert volumes[kind] == pytest.approx(size), kind
    assert calls == found.calls


def test_volumes_of_split_layers() -> None:
    run, sizes = configured(), MeshSizes(tensor=2)
    # the formula has no sums of gradients of norms of single heads, and counts an input that needs no gradient
    assert predicted(run, sizes)[0]["all_reduce"] == pytest.approx(counted(run, sizes).sizes["all_reduce"], rel=0.05)
