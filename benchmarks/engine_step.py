"""One rank of a row of ``engine.py``: trains a diffusion transformer a few steps; prints time and memory as JSON.

    torchrun --standalone --nproc_per_node=N benchmarks/engine_step.py CASE

CASE is a :class:`Case` as JSON; one process runs without ``torchrun``.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import torch.distributed as dist
from tokenizer import peak_mib, start_counting_memory, synchronize  # the benchmark beside this one
from torch import Tensor, nn
from torch.autograd import DeviceType

from cosmos_lidar import kernels
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.parallel.apply import parallelize
from cosmos_lidar.parallel.clip import clip_gradients
from cosmos_lidar.parallel.mesh import NAMES, check_plan, make_mesh, mesh_sizes, process_count, start_processes
from cosmos_lidar.training.measure.memory import give_memory_back

PROFILED = 25  # rows of a table of kernels


@dataclass(frozen=True)
class Case:
    """Network, batch and mesh that the ranks of one row train.

    Attributes:
        name: of the row.
        network: a name that ``build_dit`` takes.
        latents: (B, C, views x frames, H, W) of the whole batch.
        text: text tokens per view.
        device: ``cpu`` or ``cuda``.
        steps: that are timed, after one that is not.
        sizes: those of the mesh that are not 1.
        backends: operations that do not run on torch.
        tight_memory: on a CPU, freed memory goes back to the system at once, as with ``trainer.tight_memory``.
        profile: file for a table of kernels; empty for none.
    """

    name: str
    network: str
    latents: list[int]
    text: int
    device: str
    steps: int
    sizes: dict[str, int] = field(default_factory=dict)
    precision: str = "fp32"
    recompute: str = "none"
    compile: bool = False
    backends: dict[str, str] = field(default_factory=dict)
    tight_memory: bool = False
    profile: str = ""

    @property
    def processes(self) -> int:
        """Number of ranks of the mesh."""
        return math.prod(self.sizes.values())


@dataclass(frozen=True)
class Measured:
    """Result of one rank: seconds of the first step and of each timed one, peak MiB, loss of the last step."""

    first_s: float
    steps_s: list[float]
    peak_mib: float
    loss: float


def train(case: Case) -> Measured:
    """Train ``case.steps`` steps as one rank of a case."""
    device = prepare_device(case.device, case.tight_memory)
    sizes = mesh_sizes(**{name: case.sizes.get(name, 1) for name in NAMES}, world=process_count())
    mesh = None  # as in the trainer: one process in fp32 has none
    if sizes.world > 1 or case.precision != "fp32":
        start_processes(device.type)
        mesh = make_mesh(sizes, device.type)
    kernels.use(kernels.Backends(**case.backends))
    warm_up(device)
    before = start_counting_memory(device)
    network = make_network(case.network, device)
    plan = network.parallel_plan()
    check_plan(sizes, plan)
    parallelize(network, plan, mesh, recompute=case.recompute, compile=case.compile, precision=case.precision)
    step = make_step(network, make_batch(case, case.latents[0] // sizes.data, device))
    times = [seconds(step, device) for _ in range(case.steps + 1)]
    measured = Measured(times[0], times[1:], peak_mib(device) - before, float(step()))
    if case.profile:
        write_profile(step, device, Path(case.profile), case.name, statistics.median(times[1:]))
    if dist.is_initialized():
        dist.destroy_process_group()
    return measured


def prepare_device(name: str, tight_memory: bool) -> torch.device:
    """Return the device of this rank, set up as the trainer does."""
    if name == "cpu":
        if tight_memory:
            give_memory_back()
        return torch.device(name)
    device = torch.device(name, int(os.environ.get("LOCAL_RANK", 0)))
    torch.cuda.set_device(device)
    return device


def warm_up(device: torch.device) -> None:
    """Train a small network once, so that memory of lazily loaded libraries is not counted."""
    make_step(nn.Linear(8, 8, device=device), (torch.zeros(8, 8, device=device),))()


def make_network(name: str, device: torch.device) -> nn.Module:
    """Return the network without zero-initialized weights, which would disable whole branches."""
    torch.manual_seed(0)
    with device:
        network = build_dit(name)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    return network


def make_batch(case: Case, count: int, device: torch.device | str) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``count`` samples: latents (B, C, V T, H, W), timesteps (B,), text (B, V M, D)."""
    with torch.device("meta"):
        config = build_dit(case.network).config
    dtype = torch.float32 if case.precision == "fp32" else torch.bfloat16
    text_shape = (count, config.n_views * case.text, config.crossattn_emb_channels)
    latents = torch.randn(count, *case.latents[1:], device=device, dtype=dtype)
    return latents, torch.randn(count, device=device), torch.randn(text_shape, device=device, dtype=dtype)


def make_step(network: nn.Module, batch: tuple[Tensor, ...]) -> Callable[[], Tensor]:
    """Return one training step on ``batch``, which returns the loss."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    target = torch.randn_like(batch[0], dtype=torch.float32)

    def step() -> Tensor:
        loss = (network(*batch).float() - target).square().mean()
        loss.backward()
        clip_gradients(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return the time of one call, until the device is done with it."""
    synchronize(device)
    started = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - started


def write_profile(step: Callable[[], Tensor], device: torch.device, file: Path, name: str, step_s: float) -> None:
    """Write the profile of one step: its kernels (CUDA) or operations (CPU) by time."""
    with torch.profiler.profile() as profiler:  # of all there is: CPU, and CUDA where there is one
        seconds(step, device)
    on_gpu = device.type == "cuda"
    found = []
    for event in profiler.key_averages():
        if on_gpu and (event.device_type != DeviceType.CUDA or getattr(event, "is_user_annotation", False)):
            continue  # what ran on the CPU, and named ranges around kernels that are listed themselves
        found.append((event.self_device_time_total if on_gpu else event.self_cpu_time_total, event.count, event.key))
    total = sum(time_us for time_us, _, _ in found)
    lines = [
        f"{name}: {total / 1e3:.3f} ms in {'kernels' if on_gpu else 'operations'}; a step without profiler takes "
        f"{1e3 * step_s:.3f} ms",
        "", "| name | calls | ms | share |", "|---|---|---|---|",
    ]  # fmt: skip
    for time_us, count, key in sorted(found, reverse=True)[:PROFILED]:
        safe = key.replace("|", "/")[:120]
        lines.append(f"| {safe} | {count} | {time_us / 1e3:.3f} | {100 * time_us / total:.1f} % |")
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(train(Case(**json.loads(sys.argv[1]))))) + "\n")
