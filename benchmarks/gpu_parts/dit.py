"""A training step of the 2 B diffusion transformer, every way to run its blocks, and the share of the measured rate."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import engine
import engine_step

from cosmos_lidar import kernels
from gpu_parts.common import Options, Row, attempts

ORDER = ("cudnn_compile", "compile", "te_attention_compile", "triton_cudnn", "te_fp8_compile", "eager")


def rows(options: Options) -> Iterator[Row]:
    """Yield seconds of a step (forward, backward, clipping, AdamW), TFLOP/s, MFU and GiB."""
    case = base(options)
    tokens, flops = engine.work_of(case)
    wanted = ORDER[-1:] if options.device == "cpu" else ORDER
    ways = {name: engine.VARIANTS[name] for name in wanted}
    works = {name: lambda way=way: measure(options, replace(case, **way[1]), way[0], tokens, flops)
             for name, way in ways.items()}  # fmt: skip
    for row in attempts(options, works):
        yield {**row, "network": case.network, "tokens": tokens, "tflop": flops / 1e12}


def base(options: Options) -> engine_step.Case:
    """Return the network and the batch."""
    if options.tiny:
        precision = "bf16" if options.device == "cuda" else "fp32"
        return engine_step.Case("", "faditv2_debug", [1, 16, 4, 8, 8], 4, options.device, 1, precision=precision)
    return engine_step.Case("", "faditv2_2b", [1, 16, 4, 64, 112], 512, options.device, 10, precision="bf16")


def measure(options: Options, case: engine_step.Case, needs: str, tokens: int, flops: int) -> Row:
    """Measure one way."""
    if problem := kernels.obstacle(needs, options.torch_device):
        return {"left_out": problem}
    found = engine_step.train(case)
    step = statistics.median(found.steps_s)
    return {"step_s": step, "tokens_s": tokens / step, **speed(options, flops, step), "first_s": found.first_s,
            "peak_gib": found.peak_mib / 1024, "loss": found.loss}  # fmt: skip


def speed(options: Options, flops: float, seconds: float) -> dict[str, Any]:
    """Return TFLOP/s and their share of the measured rate."""
    tflops = flops / seconds / 1e12
    return {"tflops": tflops, "mfu": options.mfu(tflops)}
