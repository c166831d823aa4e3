"""Peak memory of training steps: counted on shapes alone, as ``cosmos-lidar doctor`` does it, and measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import engine_step
import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import FakeTensorMode

from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.parallel.apply import parallelize
from cosmos_lidar.parallel.mesh import make_mesh, mesh_sizes
from cosmos_lidar.training.measure.memory import PeakMemory
from gpu_parts.common import Options, Row, attempts, loss_of
from gpu_parts.dit import base


def rows(options: Options) -> Iterator[Row]:
    """Yield predicted and measured GiB of a step with and without recomputation."""
    kinds = ("none",) if options.tiny else ("none", "full")
    works = {f"recompute {again}": lambda again=again: compare(options, again) for again in kinds}
    yield from attempts(options, works)


def compare(options: Options, again: str) -> Row:
    """Measure a step, and predict it."""
    case = replace(base(options), recompute=again, steps=1, tight_memory=options.device == "cpu")
    counted = predicted(case)
    found = engine_step.train(case).peak_mib / 1024
    return {"network": case.network, "predicted_gib": counted, "measured_gib": found, "ratio": counted / found}


def predicted(case: engine_step.Case) -> float:
    """Return the peak in GiB of weights, gradients, moments of AdamW and activations, on fake tensors."""
    sharded = case.precision != "fp32"
    with _fake_group() if sharded else nullcontext():
        with torch.device("meta"):
            network = build_dit(case.network)
        mesh = make_mesh(mesh_sizes(1, 1, 1, 1, 1), "cpu") if sharded else None
        parallelize(network, network.parallel_plan(), mesh, recompute=case.recompute, precision=case.precision)
        with FakeTensorMode(allow_non_fake_inputs=True):
            network.to_empty(device="cpu")
            moments = [torch.zeros_like(p) for p in network.parameters() for _ in range(2)]
            batch = engine_step.make_batch(case, case.latents[0], "cpu")
            memory = PeakMemory()
            memory.add([list(network.parameters()), list(network.buffers()), moments, batch])
            with memory.watching():
                loss_of(network(*batch)).backward()
    return memory.peak / 2**30


@contextmanager
def _fake_group() -> Iterator[None]:
    """One rank of a process group whose collectives move nothing."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", rank=0, world_size=1, store=FakeStore())
    try:
        yield
    finally:
        dist.destroy_process_group()
