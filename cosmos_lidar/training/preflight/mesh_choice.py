"""Other meshes for the same GPUs: predicted step time and memory of each, the fastest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.plan import ParallelPlan
from cosmos_lidar.parallel.mesh import MeshSizes, check_plan
from cosmos_lidar.training.preflight.machines import Machine
from cosmos_lidar.training.preflight.step_time import StepTime, predict_step
from cosmos_lidar.training.preflight.workload import Workload

if TYPE_CHECKING:
    from cosmos_lidar.training.preflight.prediction import Prediction

USABLE = 0.92  # of a GPU's memory: the rest is the driver's, the communication library's, and fragmentation


@dataclass(frozen=True)
class MeshChoice:
    """A mesh with its prediction.

    Attributes:
        sizes: of the mesh.
        time: of a step.
        memory_gb: of one rank, scaled from that of the counted mesh; None where that is unknown.
        fits: in the memory of the machine's GPUs; None likewise.
    """

    sizes: MeshSizes
    time: StepTime
    memory_gb: float | None
    fits: bool | None


def choices(
    run: Any, plan: ParallelPlan, work: Workload, counted: tuple[MeshSizes, Prediction] | None, world: int,
    machine: Machine, load_s: float = 0.0,
) -> list[MeshChoice]:  # fmt: skip
    """Return the possible meshes of ``world`` GPUs by samples per second, the fastest first.

    Ranks that share samples or layers are in one node.

    Args:
        run: the configuration.
        plan: of the network.
        work: one sample of it.
        counted: a mesh, and what was counted of its memory; None: memory is unknown.
        world: number of GPUs.
        machine: all of them are in such.
        load_s: seconds that one worker takes to load a sample.
    """
    found = []
    for sizes in _meshes(world, machine.gpus):
        changed = with_mesh(run, sizes)
        try:
            check_plan(sizes, plan, run.parallel.attention)
            changed.check()
            time = predict_step(changed, plan, work, sizes, machine, load_s)
        except UserError:
            continue
        memory = None if counted is None else _memory(work, *counted, sizes)
        fits = None if memory is None else memory <= 1e9 * USABLE * machine.memory_gb
        found.append(MeshChoice(sizes, time, None if memory is None else memory / 1e9, fits))
    return sorted(found, key=lambda one: -one.time.samples_per_s)


def with_mesh(run: Any, sizes: MeshSizes) -> Any:
    """Return the configuration of the same training on another mesh."""
    named = {name: getattr(sizes, name) for name in ("data_replicate", "data_shard", "context", "tensor")}
    return replace(run, parallel=replace(run.parallel, **named))


def _meshes(world: int, node: int) -> Iterator[MeshSizes]:
    for shared in _divisors(min(world, node)):
        for tensor in _divisors(shared):
            if world % shared:
                continue
            for shard in _divisors(world // shared):
                yield MeshSizes(world // shared // shard, shard, shared // tensor, tensor)


def _divisors(number: int) -> list[int]:
    return [size for size in range(1, number + 1) if number % size == 0]


def _memory(work: Workload, counted: MeshSizes, found: Prediction, sizes: MeshSizes) -> float | None:
    """Return the bytes of a rank: weights and what belongs to them by their shards, the rest by ranks of a sample."""
    if found.activations is None:
        return None
    kept = found.weights + found.optimizer + found.average + found.gradients
    rest = max(found.activations - found.gradients, 0) * counted.context * counted.tensor
    return kept * _local(work, sizes) / _local(work, counted) + rest / sizes.context / sizes.tensor


def _local(work: Workload, sizes: MeshSizes) -> float:
    """Return the parameters of one rank."""
    whole = sum(unit.split / sizes.tensor + unit.whole for unit in work.units)
    return whole / (sizes.data_shard * sizes.context)
