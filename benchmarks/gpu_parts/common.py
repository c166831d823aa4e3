"""What the parts of ``gpu.py`` share: options, rows that may fail alone, time that is left, random weights, steps."""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from tokenizer import peak_mib, start_counting_memory, synchronize  # the benchmark beside this package
from torch import Tensor, nn

from cosmos_lidar import kernels

Row = dict[str, Any]
Work = Callable[[], Row]


@dataclass(frozen=True)
class Options:
    """What a part is given.

    Attributes:
        device: ``cuda`` or ``cpu``.
        tiny: small networks and sizes, for a rehearsal.
        deadline: of ``time.monotonic()``.
        rate_tflops: measured rate of large matrix products in bfloat16; 0 where it is not known.
    """

    device: str
    tiny: bool
    deadline: float
    rate_tflops: float = 0.0

    @property
    def torch_device(self) -> torch.device:
        """The device."""
        return torch.device(self.device)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the computation: bfloat16, but float32 in a rehearsal on a CPU."""
        return torch.bfloat16 if self.device == "cuda" else torch.float32

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.deadline - time.monotonic()

    def mfu(self, tflops: float) -> float | None:
        """Return the ratio of a rate to the measured rate of matrix products; None without one."""
        return tflops / self.rate_tflops if self.rate_tflops else None


def attempts(options: Options, works: dict[str, Work]) -> Iterator[Row]:
    """Yield a row of each piece of work: what it measured, why it failed, or that its time had come.

    A piece is not begun when the longest one so far would not end in time.
    """
    longest = 0.0
    for name, work in works.items():
        if options.left() < longest:
            yield {"name": name, "left_out": "no time was left"}
            continue
        started = time.monotonic()
        try:
            found = work()
        except Exception as error:  # of drivers, compilers and other people's kernels: any kind
            found = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
        free()
        longest = max(longest, time.monotonic() - started)
        yield {"name": name, **found, "took_s": time.monotonic() - started}


def free() -> None:
    """Free what the last piece of work has left, on the device, too."""
    if not torch.cuda.is_available():
        return
    gc.collect()
    if "torch._dynamo" in sys.modules:  # seconds to import
        torch._dynamo.reset()
    torch.cuda.empty_cache()


def seconds_of(work: Callable[[], object], device: torch.device, repeats: int) -> tuple[float, float]:
    """Return seconds of the first call, which compiles, and the median of the others."""
    times = []
    for _ in range(repeats + 1):
        synchronize(device)
        started = time.perf_counter()
        work()
        synchronize(device)
        times.append(time.perf_counter() - started)
    return times[0], statistics.median(times[1:])


def measured_step(work: Callable[[], object], options: Options, repeats: int) -> Row:
    """Return ``first_s``, ``step_s`` and the peak memory in GiB of a call, above what was in use before."""
    before = start_counting_memory(options.torch_device)
    first, step = seconds_of(work, options.torch_device, repeats)
    return {"first_s": first, "step_s": step, "peak_gib": (peak_mib(options.torch_device) - before) / 1024}


@torch.no_grad()
def randomize(network: nn.Module) -> nn.Module:
    """Fill in weights of which none are zero, as zeros draw less power and run faster; norms are about 1."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        parameter.normal_(std=0.02)
        if parameter.ndim == 1:
            parameter.add_(1.0)
    return network


def attention_backends(options: Options) -> list[str]:
    """Return the backends of attention that run here: torch, cuDNN, TransformerEngine."""
    return [name for name in kernels.CHOICES["attention"] if not kernels.obstacle(name, options.torch_device)]


def inference_network(network: nn.Module, options: Options) -> nn.Module:
    """Return a network with random weights, ready to compute in the type of the options."""
    return randomize(network).to(options.torch_device, options.dtype).eval().requires_grad_(False)


def loss_of(out: Tensor) -> Tensor:
    """Return a loss whose gradient reaches every output."""
    return out.float().square().mean()
