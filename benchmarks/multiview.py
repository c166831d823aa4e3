"""Multi-view video diffusion: FLOPs of the published trainings, a measured training step, and the VAE per view.

    OMP_NUM_THREADS=1 python benchmarks/multiview.py                 # on a CPU: a small network, small images
    OMP_NUM_THREADS=1 python benchmarks/multiview.py --tiny          # a rehearsal of every table
    python benchmarks/multiview.py --device cuda                     # 2 B: full and low-rank, 480p 5 views, one card

The first table counts on shapes alone: nothing is computed. PFLOP are model FLOPs (three forward passes, attention over
all keys of the scope); beside them is what the VAE takes to encode all views, which latents in a cache save. The
published seconds are those of 8 H100 NVL; s/step at ``--fraction`` of ``--peak`` leaves the VAE and all waiting out.

A measured step is forward, backward, clipping and AdamW of the trainer's own model on cached latents, random weights
(none are zero), batch 1. TFLOP/s and MFU count what is computed without recomputation: low-rank updates compute no
gradients of the weights that they adapt. Memory is the peak above what was there before the network. Rows run in fresh
processes; one thread of a CPU is timed in processor time. The VAE has random weights of full width, and other options
in ``wan_vae.py``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import wan_vae  # the benchmarks beside this one
from engine import row, table_head
from engine_step import prepare_device, warm_up
from tokenizer import machine, peak_mib, start_counting_memory, synchronize
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cosmos_lidar.families.multiview.config import MultiviewTrainConfig
from cosmos_lidar.families.multiview.job import make_dry_model
from cosmos_lidar.families.multiview.model import MultiviewModel
from cosmos_lidar.models.wan_vae import build_vae
from cosmos_lidar.parallel.clip import clip_gradients
from cosmos_lidar.parallel.mesh import make_mesh, mesh_sizes, start_processes
from cosmos_lidar.recipes import multiview
from cosmos_lidar.training.overrides import apply_overrides

SCOPES = ("all_views", "same_view_or_frame")
KINDS = ("full", "lora")
PARTS = ("flops", "step", "vae")
# Name -> view ids, latents of a view, seconds per step that the guide gives for 8 H100 NVL.
PUBLISHED: dict[str, tuple[list[int], list[int], float]] = {
    "720p 7 views": ([0, 1, 2, 3, 4, 5, 6], [16, 8, 88, 160], 8.9),
    "720p 5 views": ([4, 5, 0, 1, 2], [16, 8, 88, 160], 6.5),
    "480p 5 views": ([4, 5, 0, 1, 2], [16, 8, 60, 106], 3.5),
}
GPUS = 8
T = TypeVar("T")
_VAE_ON_CPU = {"vae_modes": ["4"], "vae_dtypes": ["float32"], "vae_repeats": 0}
ON_CPU = {"network": "predict2_small_multiview", "views": 3, "latents": "12x4x8x14", "precision": "fp32", "steps": 3,
          "recompute": "none", "vae_sizes": ["9x64x96"], **_VAE_ON_CPU}  # fmt: skip
TINY = {"network": "predict2_debug_multiview", "views": 2, "latents": "16x2x4x6", "precision": "fp32", "steps": 1,
        "recompute": "none", "rows": ["480p 5 views"], "vae_dim": 4, "vae_sizes": ["5x32x32"],
        **_VAE_ON_CPU}  # fmt: skip


@dataclass(frozen=True)
class Flops:
    """Cost of a published training: PFLOP of a step and of encoding its views, and times."""

    name: str
    scope: str
    tokens: int
    step_pflop: float
    vae_pflop: float
    published_s: float | None
    published_share: float | None
    on_all_s: float
    on_one_s: float


@dataclass(frozen=True)
class StepCase:
    """A training step that is measured."""

    options: list[str]
    scope: str
    kind: str
    device: str
    steps: int


@dataclass(frozen=True)
class Step:
    """A measured step: median seconds, TFLOP that are computed, peak memory."""

    scope: str
    kind: str
    trained: int
    step_s: float
    tflop: float
    peak_mib: float


def options_of(views: list[int], latents: list[int], *more: str) -> list[str]:
    """Return options of the recipe for cached latents."""
    lists = (str(numbers).replace(" ", "") for numbers in (views, latents))
    names = ("data.view_ids", "data.latent_shape")
    return [*(f"{name}={numbers}" for name, numbers in zip(names, lists, strict=True)), "data.path=unused", *more]


def configure(options: Sequence[str], scope: str, kind: str) -> MultiviewTrainConfig:
    """Return the configuration of a training, low-rank where ``kind`` is ``lora``."""
    run = multiview.waymo_720p_lora() if kind == "lora" else multiview.waymo_720p()
    return apply_overrides(run, ["parallel.context=1", f"model.attention_scope={scope}", *options])


def empty_model(run: MultiviewTrainConfig) -> MultiviewModel:
    """Return the model with its network on the meta device."""
    with torch.device("meta"):
        return make_dry_model(run)


def count_flops(name: str, scope: str, args: argparse.Namespace) -> Flops:
    """Count a published training."""
    views, latents, published_s = PUBLISHED[name]
    model = empty_model(configure(options_of(views, latents), scope, "full"))
    flops = model.flops_per_sample()
    if flops is None:
        raise RuntimeError(model.flops_unknown)
    at_peak, scaled = flops / (1e12 * args.peak), args.fraction
    shown = published_s if scope == SCOPES[0] else None
    share = at_peak / GPUS / shown if shown else None
    vae = len(views) * vae_flops(model.run.data.frames, *model.run.data.size)
    times = at_peak / scaled / GPUS, at_peak / scaled
    return Flops(name, scope, model.items_per_sample(), flops / 1e15, vae / 1e15, shown, share, *times)


@lru_cache
def vae_flops(frames: int, height: int, width: int) -> int:
    """Return the FLOPs of encoding one view, in windows of 4 frames."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        build_vae("wan2_1").encode(torch.empty(1, 3, frames, height, width), window=4)
    return counter.get_total_flops()


def step_flops(run: MultiviewTrainConfig) -> int:
    """Return the FLOPs of forward and backward as they are computed: frozen weights have no gradients."""
    model = empty_model(run)
    with FlopCounterMode(display=False) as counter:
        model.network(**model.example_inputs()).sum().backward()
    return counter.get_total_flops()


def measure_step(case: StepCase) -> Step:
    """Train some steps in this process."""
    run = configure(case.options, case.scope, case.kind)
    device = prepare_device(case.device, tight_memory=False)
    mesh = None
    if run.trainer.precision != "fp32":
        start_processes(device.type)
        mesh = make_mesh(mesh_sizes(0, 1, 1, 1, 1), device.type)
    warm_up(device)
    flops, before = step_flops(run), start_counting_memory(device)
    model = empty_model(run)
    model._device_mesh = mesh
    model.parallelize()
    fill_randomly(model.network.to_empty(device=device))
    model.to(device)
    optimizer = model.configure_optimizers()["optimizer"]
    batch = random_batch(model, device)

    def step() -> None:
        model.step(batch)["loss"].backward()
        clip_gradients([p for p in model.network.parameters() if p.requires_grad], run.optim.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    seconds(step, device)
    step_s = statistics.median([seconds(step, device) for _ in range(case.steps)])
    trained = sum(parameter.numel() for parameter in model.network.parameters() if parameter.requires_grad)
    found = Step(case.scope, case.kind, trained, step_s, flops / 1e12, peak_mib(device) - before)
    if dist.is_initialized():
        dist.destroy_process_group()
    return found


def seconds(work: Callable[[], None], device: torch.device) -> float:
    """Return the time of one call; of one thread on a CPU its processor time, without that of other programs."""
    clock = time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    synchronize(device)
    started = clock()
    work()
    synchronize(device)
    return clock() - started


@torch.no_grad()
def fill_randomly(network: nn.Module) -> None:
    """Fill in weights of which none are zero; norms begin at 1."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        parameter.normal_(std=0.02)
        if parameter.ndim == 1:
            parameter.add_(1.0)


def random_batch(model: MultiviewModel, device: torch.device) -> Any:
    """Return a clip of random latents and text."""
    batch = model.example_batch(1)
    for name, value in vars(batch).items():
        if isinstance(value, Tensor):
            setattr(batch, name, torch.randn_like(value))
    return batch.to(device)


def step_cases(args: argparse.Namespace) -> list[StepCase]:
    """Return the steps to measure."""
    if args.device == "cuda":
        views, latents, _ = PUBLISHED[args.measured]
        options = options_of(views, latents, f"parallel.compile={args.compile}".lower())
    else:
        latents = [int(size) for size in args.latents.split("x")]
        options = options_of(list(range(args.views)), latents, f"model.name={args.network}", "data.text_shape=[8,64]")
    options += [f"trainer.precision={args.precision}", f"parallel.recompute={args.recompute}"]
    return [StepCase(options, scope, kind, args.device, args.steps) for kind in args.kinds for scope in args.scopes]


def flops_rows(args: argparse.Namespace) -> Iterator[tuple[str, Flops | None]]:
    """The first table."""
    where = f"{GPUS} x {args.peak:g} TFLOP/s"
    yield f"\nPublished trainings, counted; {where}, {args.fraction:.0%} of the peak in the last columns\n\n", None
    yield table_head("training", "attention", "tokens", "PFLOP/step", "VAE, PFLOP", "published s/step",
                     "published, of the peak", f"s/step, {GPUS} GPUs", "s/step, one GPU"), None  # fmt: skip
    for name in args.rows:
        for scope in args.scopes:
            found = count_flops(name, scope, args)
            published = [f"{found.published_s:g}", f"{found.published_share:.1%}"] if found.published_s else ["–", "–"]
            cells = f"{found.tokens:,}", f"{found.step_pflop:.2f}", f"{found.vae_pflop:.2f}", *published
            yield row(name, scope, *cells, f"{found.on_all_s:.2f}", f"{found.on_one_s:.1f}"), found


def step_rows(args: argparse.Namespace) -> Iterator[tuple[str, Step | None]]:
    """The second table."""
    cases = step_cases(args)
    run = configure(cases[0].options, SCOPES[0], "full")
    shape = "x".join(str(size) for size in run.data.latent_shape)
    about = f"{run.model.name}, {run.data.views} views of {shape}, {args.precision}, recompute {args.recompute}"
    yield f"\nMeasured step: {about}\n\n", None
    yield table_head("trained", "attention", "parameters", "s/step", "TFLOP", "TFLOP/s", "MFU", "peak GiB"), None
    peak = args.peak if args.device == "cuda" else args.peak_tflops
    for case in cases:
        found = alone(args, measure_step, case)
        rate = found.tflop / found.step_s
        mfu = f"{rate / peak:.1%}" if peak else "–"
        cells = f"{found.trained:,}", f"{found.step_s:.3g}", f"{found.tflop:.4g}", f"{rate:.3g}", mfu
        yield row(case.kind, case.scope, *cells, f"{found.peak_mib / 1024:.2f}"), found


def vae_rows(args: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """The third table."""
    yield f"\nVAE, one view, width {args.vae_dim}\n\n", None
    yield (
        table_head("T x H x W", "type", "window", "encode frames/s", "decode frames/s", "encode GiB", "decode GiB"),
        None,
    )
    for size in args.vae_sizes:
        for dtype in args.vae_dtypes:
            for mode in args.vae_modes:
                sizes = (int(part) for part in size.split("x"))
                case = wan_vae.Case("", args.vae_dim, 1, 1, *sizes, args.device, dtype, mode, 256)
                found = alone(args, wan_vae.measure, case, args.vae_repeats)
                memory = (f"{mib / 1024:.2f}" for mib in (found.encode_mib, found.decode_mib))
                line = row(size.replace("x", " x "), dtype, mode, f"{found.encode:.3g}", f"{found.decode:.3g}", *memory)
                yield line, {"size": size, "dtype": dtype, "mode": mode, **asdict(found)}


def alone(args: argparse.Namespace, measure: Callable[..., T], *given: Any) -> T:
    """Return ``measure(*given)`` of a fresh process, which has its own peak memory; a rehearsal is in this one."""
    if args.tiny:
        return measure(*given)
    with multiprocessing.get_context("spawn").Pool(1) as fresh:
        return fresh.apply(measure, given)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options; the device and ``--tiny`` change the defaults."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    add("--parts", nargs="+", default=PARTS, choices=PARTS, help="tables; all by default")
    add("--scopes", nargs="+", default=SCOPES, choices=SCOPES)
    add("--rows", nargs="+", default=list(PUBLISHED), choices=PUBLISHED, metavar="NAME", help=", ".join(PUBLISHED))
    add("--fraction", type=float, default=0.4, help="of the peak, for the counted times (default %(default)s)")
    add("--peak", type=float, default=989.0, help="TFLOP/s of a GPU (default %(default)s: H100 and H200, bf16, dense)")
    add("--kinds", nargs="+", default=KINDS, choices=KINDS, help="what is trained: all weights, or low-rank updates")
    add("--measured", default="480p 5 views", choices=PUBLISHED, metavar="NAME", help="of the step on CUDA")
    add("--network", default="predict2_2b_multiview", help="of the step on a CPU")
    add("--views", type=int, default=5, help="of the step on a CPU")
    add("--latents", default="16x8x60x106", help="CxTxHxW of a view, of the step on a CPU")
    add("--precision", default="bf16", choices=["fp32", "bf16"])
    add("--recompute", default="full", choices=["none", "selective", "full"])
    add("--compile", action=argparse.BooleanOptionalAction, default=True, help="compile the blocks, on CUDA")
    add("--peak-tflops", type=float, default=0.0, help="of the CPU, for MFU (default: no MFU)")
    add("--steps", type=int, default=5, help="timed, after one that is not")
    add("--vae-dim", type=int, default=96, help="width of the VAE")
    add("--vae-sizes", nargs="+", default=["29x480x848", "29x704x1280"], metavar="TxHxW")
    add("--vae-modes", nargs="+", default=["4", "16"], help="windows in frames, whole, tile")
    add("--vae-dtypes", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    add("--vae-repeats", type=int, default=3, help="calls that are timed; 0: the first one")
    add("--tiny", action="store_true", help="every table on a toy")
    add("--json", action="store_true", help="print JSON instead of tables")
    known = parser.parse_args(arguments)
    parser.set_defaults(**(ON_CPU if known.device == "cpu" else {}) | (TINY if known.tiny else {}))
    return parser.parse_args(arguments)


def main() -> None:
    """Count, measure and print."""
    args = parse()
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("--device cuda and no usable GPU here: --device cpu")
    where = f"{machine(args.device)}; {time.strftime('%Y-%m-%d')}"
    tables = {"flops": flops_rows, "step": step_rows, "vae": vae_rows}
    result: dict[str, Any] = {"machine": where, **{part: [] for part in args.parts}}
    if not args.json:
        sys.stdout.write(where + "\n")
    for part in args.parts:
        for line, found in tables[part](args):
            if found is not None:
                result[part].append(found if isinstance(found, dict) else asdict(found))
            if not args.json:
                sys.stdout.write(line)
                sys.stdout.flush()
    if args.json:
        sys.stdout.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
