"""Seconds of a training step on a machine, predicted (roofline): computation, memory, network, loading; what bounds it.

Every operation takes the longer of FLOPs / (peak x efficiency) and bytes / (bandwidth x efficiency); backward takes
twice the forward pass, attention two and a half times (it computes the scores again); collectives take bytes /
bandwidth and a latency per step of a ring. Sharded weights and replicas are exchanged while the network computes, and
count with what is longer than that; exchanges of context and tensor ranks count in full. Batches are loaded meanwhile:
a step is never shorter than loading.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from cosmos_lidar.models.plan import ParallelPlan
from cosmos_lidar.parallel.mesh import MeshSizes
from cosmos_lidar.training.config import accumulation
from cosmos_lidar.training.preflight.links import BETWEEN_NODES, INSIDE_NODE, transfer_seconds
from cosmos_lidar.training.preflight.machines import Machine
from cosmos_lidar.training.preflight.traffic import Division, Transfer, division_of, transfers
from cosmos_lidar.training.preflight.workload import Operation, Workload

# Shares of the peak. attention: FlashAttention-3, 128 channels a head, 16 k tokens, not causal: 648 TFLOP/s forward on
# an H100 SXM (Shah et al. 2024, arXiv 2407.08608, figure 5), 0.65; backward is slower: 0.6 for both is assumed.
# matmul: 790 of 989 TFLOP/s, what an H200 sustains on large products (docs/performance.md).
# convolution: assumed; half of that. bandwidth: of the memory; assumed, as copies reach 0.8 to 0.9.
EFFICIENCY = {"attention": 0.6, "matmul": 0.8, "convolution": 0.4, "other": 1.0, "bandwidth": 0.8}
_BACKWARD = {"attention": 2.5, "matmul": 2.0, "convolution": 2.0, "other": 2.0}
# float32 numbers that an update of one trained parameter reads or writes: gradient, moments and weight (read, written)
_UPDATE, _AVERAGE = 7, 3
_BOUNDS = {"compute": "compute", "memory": "memory bandwidth", "loading": "data loading"}


@dataclass(frozen=True)
class Traffic:
    """What the ranks of one mesh dimension exchange in a step.

    Attributes:
        dimension: of the mesh.
        ranks: of one group.
        link: inside a node, or between nodes.
        overlaps: runs while the network computes: sharded weights and replicas.
        messages: collectives of one rank.
        sent_gb: by one rank, 1e9 bytes.
        seconds: on the network.
        waited_s: of these, what the network's computation does not cover.
    """

    dimension: str
    ranks: int
    link: str
    overlaps: bool
    messages: int
    sent_gb: float
    seconds: float
    waited_s: float


@dataclass(frozen=True)
class StepTime:
    """A predicted step.

    Attributes:
        machine: its name.
        gpus: number of them.
        mesh: the sizes, for people.
        samples: of a step, on all ranks.
        seconds: of a step.
        samples_per_s: on all ranks.
        mfu: model FLOPs over the machine's peak in bf16 (fp32 in fp32).
        bound: what takes longest: compute, memory bandwidth, network inside nodes, network between nodes, data loading.
        compute_s: operations that the FLOPs bound.
        memory_s: operations that the memory bandwidth bounds, and the update.
        encoding_s: of both, for online encoding of recorded samples.
        waited_s: for the network.
        loading_s: of the samples of a rank by its workers, meanwhile.
        traffic: by mesh dimension.
    """

    machine: str
    gpus: int
    mesh: str
    samples: int
    seconds: float
    samples_per_s: float
    mfu: float
    bound: str
    compute_s: float
    memory_s: float
    encoding_s: float
    waited_s: float
    loading_s: float
    traffic: list[Traffic]


def predict_step(
    run: Any, plan: ParallelPlan, work: Workload, sizes: MeshSizes, machine: Machine, load_s: float = 0.0
) -> StepTime:
    """Return the predicted time of one step.

    Args:
        run: the configuration.
        plan: of the network.
        work: one sample of it.
        sizes: of the mesh.
        machine: all ranks are on such.
        load_s: that one worker takes to load a sample; 0: loading is not counted.

    Raises:
        UserError: ``trainer.global_batch_size`` is no multiple of the samples of all ranks.
    """
    division = division_of(run, sizes, accumulation(run, sizes.data), plan.context)
    samples = division.samples * division.passes
    network = _network_seconds(work, division, run.trainer.precision, machine)
    encoding = seconds_of(work.encoding(sizes.context), machine)
    network = {kind: samples * s for kind, s in network.items()}
    encoding = {kind: samples * s for kind, s in encoding.items()}
    compute, memory = (network[kind] + encoding[kind] for kind in ("compute", "memory"))
    memory += _update_seconds(run, work, sizes, machine)
    traffic = _traffic(transfers(work, division), machine, sum(network.values()))
    waited = sum(one.waited_s for one in traffic)
    loading = samples * load_s / max(run.data.workers, 1)
    busy = compute + memory + waited
    seconds = max(busy, loading)
    together = samples * sizes.data
    peak = machine.peak_flops("fp32" if run.trainer.precision == "fp32" else "bf16")
    return StepTime(
        machine.name, sizes.world, str(sizes), together, seconds, together / seconds,
        work.model_flops * together / seconds / sizes.world / peak, _bound(compute, memory, loading, busy, traffic),
        compute, memory, sum(encoding.values()), waited, loading, traffic,
    )  # fmt: skip


def seconds_of(
    operations: Counter[Operation], machine: Machine, share: float = 1.0, factors: dict[str, float] | None = None,
    precision: str | None = None,
) -> dict[str, float]:  # fmt: skip
    """Return the seconds of operations, by what bounds each: ``compute`` or ``memory``.

    Args:
        operations: and how many of each.
        machine: whose peaks count.
        share: of each operation that a rank computes.
        factors: how often each kind is computed; once without.
        precision: of matrix products and attention; that of the operations without.
    """
    found = {"compute": 0.0, "memory": 0.0}
    for one, count in operations.items():
        products = precision if precision and one.kind == "matmul" else one.precision
        flops_s = one.flops / machine.peak_flops(products) / EFFICIENCY[one.kind]
        bytes_s = one.size / (1e9 * machine.memory_gb_s) / EFFICIENCY["bandwidth"]
        often = count * share * (factors[one.kind] if factors else 1.0)
        found["compute" if flops_s > bytes_s else "memory"] += often * max(flops_s, bytes_s)
    return found


def _network_seconds(work: Workload, division: Division, precision: str, machine: Machine) -> dict[str, float]:
    """Forward, backward and recomputation of one sample on one of the ranks that share it."""
    again = {"none": (), "selective": ("matmul", "convolution", "other"), "full": tuple(_BACKWARD)}[division.recompute]
    factors = {kind: 1.0 + backward + (kind in again) for kind, backward in _BACKWARD.items()}
    share = 1.0 / division.sizes.context / division.sizes.tensor
    return seconds_of(work.forward, machine, share, factors, precision)


def _update_seconds(run: Any, work: Workload, sizes: MeshSizes, machine: Machine) -> float:
    numbers = _UPDATE + (_AVERAGE if run.model.ema.enabled else 0)
    ranks = sizes.data_shard * sizes.context
    trained = sum(unit.trained * (unit.split / sizes.tensor + unit.whole) for unit in work.units) / ranks
    return 4 * numbers * trained / (1e9 * machine.memory_gb_s) / EFFICIENCY["bandwidth"]


def _traffic(found: list[Transfer], machine: Machine, hidden_s: float) -> list[Traffic]:
    """Return the traffic by dimension; ``hidden_s`` of what overlaps is not waited for."""
    timed = [(one, transfer_seconds(one, machine)) for one in found]
    covered = sum(seconds for one, (seconds, _) in timed if one.overlaps)
    waited = max(covered - hidden_s, 0.0) / covered if covered else 0.0
    rows: dict[tuple[str, int, str, bool], list[float]] = {}
    for one, (seconds, link) in timed:
        sums = rows.setdefault((one.dimension, one.ranks, link, one.overlaps), [0, 0.0, 0.0, 0.0])
        share = waited if one.overlaps else 1.0
        for index, value in enumerate((one.count, one.sent / 1e9, seconds, share * seconds)):
            sums[index] += value
    return [Traffic(*key, int(messages), *rest) for key, (messages, *rest) in rows.items()]


def _bound(compute: float, memory: float, loading: float, busy: float, traffic: list[Traffic]) -> str:
    """Return the largest part of a step, or loading where that takes longer than all others."""
    if loading > busy:
        return _BOUNDS["loading"]
    parts = {_BOUNDS["compute"]: compute, _BOUNDS["memory"]: memory}
    for link in (INSIDE_NODE, BETWEEN_NODES):
        parts[f"network {link}"] = sum(one.waited_s for one in traffic if one.link == link)
    return max(parts, key=lambda name: parts[name])
