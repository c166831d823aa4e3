"""Bytes and messages that ranks exchange in a training step, by mesh dimension: closed formulas.

All-gathers and reduce-scatters of sharded weights (FSDP2), all-reduces of replicas (HSDP) and of split layers (tensor
parallelism), all-to-alls or all-gathers of self-attention (context parallelism). Halos of convolutions that context
ranks exchange (``context="width"``), norms of gradients and the loss are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from cosmos_lidar.parallel.mesh import MeshSizes
from cosmos_lidar.training.preflight.workload import Workload

Kind = Literal["all_gather", "reduce_scatter", "all_reduce", "all_to_all"]
_GRADIENT_BYTES = 4  # gradients are summed in float32
_KEEP_BELOW = 2e9  # bytes of whole gradients that parallel.reduce=auto keeps until the last accumulated batch


@dataclass(frozen=True)
class Transfer:
    """Equal collectives of one step.

    Attributes:
        dimension: of the mesh.
        kind: of collective.
        ranks: of one group.
        stride: between the ranks of a group.
        size: bytes of the whole tensor: gathered, to be reduced, or of one rank before an all-to-all.
        count: messages of a step.
        overlaps: runs while the network computes.
    """

    dimension: str
    kind: Kind
    ranks: int
    stride: int
    size: float
    count: int
    overlaps: bool

    @property
    def sent(self) -> float:
        """Bytes that one rank sends in a step, by ring algorithms."""
        rounds = 2 if self.kind == "all_reduce" else 1
        return self.count * rounds * self.size * (self.ranks - 1) / self.ranks


@dataclass(frozen=True)
class Division:
    """How a step is divided and repeated.

    Attributes:
        sizes: of the mesh.
        samples: of one forward pass.
        passes: forward passes of a step, whose gradients are accumulated.
        itemsize: bytes of an activation, and of a gathered weight.
        attention: ``ulysses``, ``gather`` or ``ring``.
        recompute: ``none``, ``selective`` or ``full``.
        reduce: ``auto``, ``each`` or ``last``.
        context: what context ranks share: ``sequence``, ``width``, or nothing.
    """

    sizes: MeshSizes
    samples: int
    passes: int
    itemsize: int
    attention: str
    recompute: str
    reduce: str
    context: str

    @property
    def forwards(self) -> int:
        """Forward computations of blocks in one pass."""
        return 2 if self.recompute == "full" else 1


def division_of(run: Any, sizes: MeshSizes, passes: int, context: str) -> Division:
    """Return how a configured step is divided over a mesh."""
    itemsize = 4 if run.trainer.precision == "fp32" else 2
    parallel = run.parallel
    return Division(
        sizes, run.data.batch_size, passes, itemsize, parallel.attention, parallel.recompute, parallel.reduce, context
    )


def transfers(work: Workload, division: Division) -> list[Transfer]:
    """Return the collectives of one step."""
    found = [*_shards(work, division), *_context(work, division), *_tensor(work, division)]
    return [one for one in found if one.ranks > 1 and one.count and one.size]


def _shards(work: Workload, division: Division) -> Iterator[Transfer]:
    """Weights are gathered before forward and before backward; gradients are scattered, then reduced over replicas."""
    sizes = division.sizes
    ranks, stride = sizes.data_shard * sizes.context, sizes.tensor
    if sizes.data_shard == 1:
        name = "context"
    else:
        name = "data_shard x context" if sizes.context > 1 else "data_shard"
        stride *= 1 if sizes.context > 1 else sizes.context
    whole = _GRADIENT_BYTES * sum(unit.trained * (unit.split + unit.whole) for unit in work.units)
    often = division.reduce == "each" or (division.reduce == "auto" and whole >= _KEEP_BELOW)
    for unit in work.units:
        parameters = unit.split / sizes.tensor + unit.whole
        gathers = division.passes * (1 if unit.root else 2)
        yield Transfer(name, "all_gather", ranks, stride, division.itemsize * parameters, gathers, True)
        gradients = _GRADIENT_BYTES * unit.trained * parameters
        scatters = division.passes if often else 1
        yield Transfer(name, "reduce_scatter", ranks, stride, gradients, scatters, True)
        yield Transfer(
            "data_replicate", "all_reduce", sizes.data_replicate, ranks * sizes.tensor, gradients / ranks, 1, True
        )


def _context(work: Workload, division: Division) -> Iterator[Transfer]:
    """Self-attention exchanges tokens for heads, or gathers keys and values; the outputs are joined at the end."""
    sizes = division.sizes
    if division.context != "sequence":
        return
    local = division.samples * division.itemsize / sizes.context / sizes.tensor
    group = ("context", sizes.context, sizes.tensor)
    passes, again = division.passes, division.forwards + 1
    if division.attention == "ulysses":
        for inputs, outputs in work.exchanged.attention:
            yield _transfer(group, "all_to_all", local * inputs, passes * again)
            yield _transfer(group, "all_to_all", local * outputs, passes * again)
    else:
        for keys in work.exchanged.keys:
            size = local * keys * sizes.context
            yield _transfer(group, "all_gather", size, passes * division.forwards)
            yield _transfer(group, "reduce_scatter", size, passes)
    joined = division.samples * division.itemsize * work.exchanged.output
    yield _transfer(group, "all_gather", joined, passes)
    yield _transfer(group, "reduce_scatter", joined, passes)


def _tensor(work: Workload, division: Division) -> Iterator[Transfer]:
    """Outputs of layers split by inputs are summed in forward, gradients of inputs of the others in backward."""
    group = ("tensor", division.sizes.tensor, 1)
    local = division.samples * division.itemsize / division.sizes.context
    for outputs in work.exchanged.row:
        yield _transfer(group, "all_reduce", local * outputs, division.passes * _row_sums(division))
    for inputs in work.exchanged.column:
        yield _transfer(group, "all_reduce", local * inputs, division.passes)


def _row_sums(division: Division) -> int:
    """Times that a block's layers are computed in one pass: `selective` keeps attention alone."""
    return 1 if division.recompute == "none" else 2


def _transfer(group: tuple[str, int, int], kind: Kind, size: float, count: int) -> Transfer:
    name, ranks, stride = group
    return Transfer(name, kind, ranks, stride, size, count, False)
