"""A training step of the 2 B multi-view transformer on cached latents: 480p, 5 views, both scopes of attention."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from cosmos_lidar import kernels
from cosmos_lidar.diffusion.conditional_flow import Condition, ConditionalFlow, first_frames
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.parallel.apply import parallelize
from cosmos_lidar.parallel.clip import clip_gradients
from cosmos_lidar.parallel.mesh import make_mesh, mesh_sizes, start_processes
from gpu_parts.common import Options, Row, attempts, attention_backends, measured_step, randomize
from gpu_parts.dit import speed

# (scope of attention, activations that are computed again)
WAYS = [("all_views", "full"), ("same_view_or_frame", "full"), ("all_views", "selective")]


def rows(options: Options) -> Iterator[Row]:
    """Yield seconds of a step, TFLOP/s, MFU and GiB of each scope."""
    backend = [name for name in attention_backends(options) if name != "te"][-1]
    works = {f"{scope}, recompute {again}, {backend}": lambda way=(scope, again): measure(options, *way, backend)
             for scope, again in (WAYS[:2] if options.tiny else WAYS)}  # fmt: skip
    yield from attempts(options, works)


def sizes(options: Options) -> tuple[str, int, tuple[int, int, int], tuple[int, int]]:
    """Return network, views, latents (T, H, W) of a view, and text (rows, width) of a view."""
    if options.tiny:
        return "predict2_debug_multiview", 2, (2, 4, 6), (8, 64)
    return "predict2_2b_multiview", 5, (8, 60, 106), (512, 1024)


def measure(options: Options, scope: str, again: str, backend: str) -> Row:
    """Measure one scope."""
    device, (name, views, latents, text) = options.torch_device, sizes(options)
    kernels.use(replace(kernels.Backends(), attention=backend))
    overrides: dict[str, Any] = {"state_t": latents[0], "attention_scope": scope}
    tokens = views * latents[0] * latents[1] * latents[2] // 4
    with torch.device("meta"):
        flops = step_flops(build_dit(name, **overrides), batch(views, latents, text, torch.float32))
    with device:
        network = randomize(build_dit(name, **overrides))
        clip = batch(views, latents, text, options.dtype)
    mesh = None
    if options.device == "cuda":
        start_processes("cuda")
        mesh = make_mesh(mesh_sizes(1, 1, 1, 1, 1), "cuda")
    precision = "bf16" if mesh is not None else "fp32"
    compiled = options.device == "cuda"
    try:
        parallelize(network, network.parallel_plan(), mesh, recompute=again, compile=compiled, precision=precision)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
        flow = ConditionalFlow(network, options.dtype)

        def step() -> None:
            flow.velocity_loss(*clip).mean().backward()
            clip_gradients(network.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        found = measured_step(step, options, 1 if options.tiny else 3)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    return {"network": name, "tokens": tokens, "tflop": flops / 1e12, **found, **speed(options, flops, found["step_s"])}


def batch(
    views: int, latents: tuple[int, int, int], text: tuple[int, int], dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Condition]:
    """Return latents, noise, noise level and condition of one clip, on the current default device."""
    shape = (1, 16, views * latents[0], *latents[1:])
    clean, noise = torch.randn(shape), torch.randn(shape)
    mask = first_frames([1], views, latents[0], torch.get_default_device())
    inputs = {"text": torch.randn(1, views * text[0], text[1], dtype=dtype), "fps": [10.0],
              "view_indices": torch.arange(views)[None].repeat_interleave(latents[0], 1)}  # fmt: skip
    return clean, noise, torch.ones(1), Condition(clean, mask, inputs)


def step_flops(network: torch.nn.Module, clip: tuple[Tensor, Tensor, Tensor, Condition]) -> int:
    """Return model FLOPs of a step: three times those of the forward pass."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        ConditionalFlow(network).velocity_loss(*clip)
    return 3 * counter.get_total_flops()
