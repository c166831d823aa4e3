"""Step time and memory of the training engine: parallelism, recomputation, checkpoints, throughput.

    OMP_NUM_THREADS=1 python benchmarks/engine.py --device cpu            # minutes
    OMP_NUM_THREADS=1 python benchmarks/engine.py --device cpu --small    # every table on a toy
    python benchmarks/engine.py --device cuda --profile kernels

A step is what the trainer does: forward, backward, clipping to a norm, fused AdamW, on a diffusion transformer with
random weights (none are zero: products of zeros draw less power and run faster). Every row runs in processes of its
own; rows that are compared take turns, and the best round's median counts, as other programs only ever slow one down.
Memory is the peak of a process above what it had before the network was built: of the CUDA allocator, or resident
(Linux only). TFLOP/s and MFU count model FLOPs: see docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import torch
from engine_step import Case, Measured, make_batch  # what runs in the processes of a row
from tables import row, table_head
from tokenizer import machine, synchronize  # the benchmark beside this one
from torch import Tensor

from cosmos_lidar import kernels
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.training.measure.flops import training_flops

PARTS = ("meshes", "recompute", "pools", "checkpoint", "throughput")
MESHES = ["one", "data_shard=2", "data_replicate=2", "tensor=2", "context=2", "tensor=2,context=2"]
TRITON = {"norm": "triton", "modulation": "triton", "rotary": "triton"}
# Name -> package that it needs, and how it differs from the plain row.
VARIANTS: dict[str, tuple[str, dict[str, object]]] = {
    "eager": ("torch", {}),
    "compile": ("torch", {"compile": True}),
    "cudnn": ("cudnn", {"backends": {"attention": "cudnn"}}),
    "cudnn_compile": ("cudnn", {"backends": {"attention": "cudnn"}, "compile": True}),
    "te_attention": ("te", {"backends": {"attention": "te"}}),
    "te_attention_compile": ("te", {"backends": {"attention": "te"}, "compile": True}),
    "triton": ("triton", {"backends": TRITON}),
    "triton_cudnn": ("triton", {"backends": {**TRITON, "attention": "cudnn"}}),
    "te_fp8": ("te", {"precision": "fp8"}),
    "te_fp8_compile": ("te", {"precision": "fp8", "compile": True}),
    "te_fp8_triton": ("te", {"precision": "fp8", "backends": {**TRITON, "attention": "te"}}),
}
ON_CPU = {"network": "faditv2_60m", "latents": "2x16x4x16x16", "text": 32, "throughput_network": "faditv2_60m",
          "throughput_latents": "1x16x4x16x16", "steps": 2, "rounds": 3}  # fmt: skip
SMALL = {"network": "faditv2_debug", "latents": "2x16x4x8x8", "text": 4, "throughput_network": "faditv2_debug",
         "throughput_latents": "1x16x4x8x8", "steps": 2, "rounds": 1, "checkpoint_mb": 50, "repeats": 2}  # fmt: skip


class FailedError(Exception):
    """A row could not be measured; the message is the reason, in one line."""


def launch(case: Case, args: argparse.Namespace) -> list[Measured]:
    """Run a case in fresh processes.

    Raises:
        FailedError: they did not all end well, or took too long.
    """
    program = [str(Path(__file__).resolve().with_name("engine_step.py")), json.dumps(asdict(case))]
    if case.processes > 1:
        program = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={case.processes}", *program]
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    with subprocess.Popen(
        [sys.executable, *program], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            out, errors = process.communicate(timeout=args.timeout)
        except subprocess.TimeoutExpired:
            raise FailedError(f"not done after {args.timeout:.0f} s") from None
        finally:
            process.terminate()  # of a launcher: ends what it started
    measured = [Measured(**json.loads(line)) for line in out.splitlines() if line.startswith("{")]
    if process.returncode or len(measured) != case.processes:
        raise FailedError(reason(errors))
    if not all(math.isfinite(one.loss) for one in measured):
        raise FailedError("the loss is not finite")
    return measured


def reason(errors: str) -> str:
    """Return the line of an output that names the exception."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    named = [line for line in lines if "Error: " in line and "ChildFailed" not in line]
    return re.sub(r"^\[rank\d+\]: ", "", (named or lines or ["ended without a message"])[-1])[:200]


def step_seconds(processes: list[Measured]) -> float:
    """Return the median step time of the slowest rank."""
    return max(statistics.median(one.steps_s) for one in processes)


def measure(cases: list[Case], args: argparse.Namespace) -> dict[str, list[Measured] | str]:
    """Run the cases interleaved; return the best round of each by name, or why there is none."""
    best: dict[str, list[Measured] | str] = {}
    for turn in range(args.rounds):
        for case in cases:
            if turn and isinstance(best[case.name], str):
                continue
            try:
                found = launch(replace(case, profile="" if turn else case.profile), args)
            except FailedError as failed:
                best[case.name] = f"failed: {failed}"
                continue
            if not turn or step_seconds(found) < step_seconds(best[case.name]):
                best[case.name] = found
    return best


# --- tables


def cost_rows(cases: list[Case], args: argparse.Namespace) -> Iterator[str]:
    """Step time and peak memory of cases, and both as ratios to the first one."""
    yield table_head("", "processes", "step ms", "of the first", "peak MiB per process", "of the first")
    found = measure(cases, args)
    first = found[cases[0].name]
    for case in cases:
        got = found[case.name]
        if isinstance(got, str):
            yield row(case.name, case.processes, got, *"---")
            continue
        step_s, peak = step_seconds(got), max(one.peak_mib for one in got)
        shares = [math.nan, math.nan]
        if not isinstance(first, str):
            shares = [step_s / step_seconds(first), peak / max(one.peak_mib for one in first)]
        time_cells, memory_cells = (f"{1e3 * step_s:.1f}", f"{shares[0]:.2f}"), (f"{peak:.0f}", f"{shares[1]:.2f}")
        yield row(case.name, case.processes, *time_cells, *memory_cells)


def mesh_rows(args: argparse.Namespace) -> Iterator[str]:
    """The table of meshes; the global batch is the same in every row."""
    known = torch.cuda.device_count() if args.device == "cuda" else sys.maxsize
    cases, missing = [], []
    for name in args.meshes:
        pairs = [part.split("=") for part in name.split(",") if part != "one"]
        case = replace(plain(args), name=name.replace(",", " x ").replace("=", " "),
                       sizes={key: int(size) for key, size in pairs})  # fmt: skip
        if case.processes > known:
            missing.append(f"{case.name}: {case.processes} GPUs needed, {known} here")
        else:
            cases.append(case)
    yield about("Meshes", plain(args))
    yield from cost_rows(cases, args)
    yield from left_out(missing)


def recompute_rows(args: argparse.Namespace) -> Iterator[str]:
    """The table of activation recomputation, on one rank."""
    yield about("Recomputation", plain(args))
    kinds = ("none", "selective", "full")
    yield from cost_rows([replace(plain(args), name=kind, recompute=kind) for kind in kinds], args)


def pool_rows(args: argparse.Namespace) -> Iterator[str]:
    """The table of ``trainer.tight_memory``, which returns freed memory at once, on one rank; CPU only."""
    if args.device != "cpu":
        return
    yield about("Memory given back", plain(args))
    cases = [replace(plain(args), name=f"tight_memory {tight}", tight_memory=tight) for tight in (False, True)]
    yield from cost_rows(cases, args)


def checkpoint_rows(args: argparse.Namespace) -> Iterator[str]:
    """How long training waits for a checkpoint, compared with a synchronous ``torch.save`` of the same tensors."""
    count = max(args.checkpoint_mb // 16, 1)
    tensors = {f"tensor_{i:03d}": torch.randn(2**22, device=args.device) for i in range(count)}
    size = sum(tensor.nbytes for tensor in tensors.values())
    yield f"\nCheckpoint: {size / 1e6:.0f} MB of fp32 in {count} tensors on {args.device}, {args.repeats} times\n\n"
    yield table_head("training waits s", "complete after s", "torch.save + fsync s", "waits / torch.save")
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        times = [checkpoint_seconds(tensors, Path(folder), turn, args.device) for turn in range(args.repeats)]
    ratio = statistics.median(waits / plain_s for waits, _, plain_s in times)
    yield row(*(f"{statistics.median(column):.3f}" for column in zip(*times, strict=True)), f"{ratio:.3f}")


def checkpoint_seconds(tensors: dict[str, Tensor], folder: Path, turn: int, device: str) -> tuple[float, float, float]:
    """Return seconds: until training continues, until the checkpoint is complete, and of a plain synchronous save.

    Raises:
        FailedError: the checkpoint could not be written.
    """
    from cosmos_lidar.training.checkpoint.store import CheckpointStore  # needs more than torch

    synchronize(torch.device(device))
    store = CheckpointStore(folder / "checkpoints", keep_last=1)
    store.save(turn, tensors, {}, {}, {})
    outcome = store.wait()
    if outcome is None or outcome.error:
        raise FailedError(f"checkpoint: {outcome and outcome.error}")
    started = time.perf_counter()
    with (folder / "plain.pt").open("wb") as stream:
        torch.save(tensors, stream)
        stream.flush()
        os.fsync(stream.fileno())
    return store.stall_s, outcome.seconds, time.perf_counter() - started


def throughput_rows(args: argparse.Namespace) -> Iterator[str]:
    """Tokens and model FLOPs per second of every way to run the blocks, in bf16 on one rank."""
    base = replace(plain(args), network=args.throughput_network, latents=sizes_of(args.throughput_latents),
                   precision="bf16", recompute=args.throughput_recompute, tight_memory=False)  # fmt: skip
    yield about("Throughput", base)
    peaks = args.peak_tflops or ([790.0, 989.0] if args.device == "cuda" else [])
    yield table_head("", "step ms", "of the first", "tokens/s", "TFLOP/s", *(f"MFU of {peak:g}" for peak in peaks),
                     "first step s", "peak MiB")  # fmt: skip
    cases, missing = [], []
    for name in args.variants:
        needs, changes = VARIANTS[name]
        if problem := kernels.obstacle(needs, torch.device(args.device)):
            missing.append(f"{name}: {problem}")
        else:
            file = str(args.profile.resolve() / f"{name}.md") if args.profile else ""
            cases.append(replace(base, name=name, profile=file, **changes))
    tokens, flops = work_of(base)
    found = measure(cases, args)
    for case in cases:
        got = found[case.name]
        if isinstance(got, str):
            yield row(case.name, got, *"-" * (5 + len(peaks)))
            continue
        step_s, first = step_seconds(got), found[cases[0].name]
        share = math.nan if isinstance(first, str) else step_s / step_seconds(first)
        rate = flops / step_s / 1e12
        yield row(case.name, f"{1e3 * step_s:.1f}", f"{share:.2f}", f"{tokens / step_s:.0f}", f"{rate:.4g}",
                  *(f"{100 * rate / peak:.1f} %" for peak in peaks), f"{got[0].first_s:.1f}",
                  f"{got[0].peak_mib:.0f}")  # fmt: skip
    yield from left_out(missing)


def plain(args: argparse.Namespace) -> Case:
    """Return the default case, on one rank, from which the rows differ; on a CPU its memory is that of tensors."""
    kind = {"precision": "bf16"} if args.device == "cuda" else {"tight_memory": True}
    return Case("one", args.network, sizes_of(args.latents), args.text, args.device, args.steps, **kind)


def sizes_of(text: str) -> list[int]:
    """Return (B, C, T, H, W) of ``1x16x4x64x112``."""
    return [int(part) for part in text.split("x")]


def work_of(case: Case) -> tuple[int, int]:
    """Return the tokens and the model FLOPs of one step of a case."""
    with torch.device("meta"):
        network = build_dit(case.network)
    patch = network.config.patch_temporal * network.config.patch_spatial**2
    batch, _, *grid = case.latents
    inputs = make_batch(replace(case, precision="fp32"), batch, "meta")  # in the type of the weights
    return batch * math.prod(grid) // patch, training_flops(network, inputs)


def about(title: str, case: Case) -> str:
    """Return the line above a table: network, batch and FLOPs."""
    with torch.device("meta"):
        millions = sum(parameter.numel() for parameter in build_dit(case.network).parameters()) / 1e6
    tokens, flops = work_of(case)
    again = "" if case.recompute == "none" else f", recompute {case.recompute}"
    return (f"\n{title}: {case.network}, {millions:.1f} M parameters, latents {'x'.join(map(str, case.latents))} = "
            f"{tokens} tokens and {case.text} of text per view, {flops / 1e12:.4g} model TFLOP per step, "
            f"{case.precision}{again}\n\n")  # fmt: skip


def left_out(missing: list[str]) -> Iterator[str]:
    """Print which rows could not be run here, and why."""
    if missing:
        yield f"\nNot run here: {'; '.join(missing)}\n"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options; the device and ``--small`` change the defaults, so that other options still apply."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    add("--parts", nargs="+", default=PARTS, choices=PARTS, help="tables; all by default")
    add("--network", default="faditv2_2b", help="of the first two tables")
    add("--latents", default="2x16x4x64x112", help="BxCxTxHxW of the first two tables, views along T")
    add("--text", type=int, default=512, help="text tokens per view")
    add("--meshes", nargs="+", default=MESHES, help="such as one data_shard=2 tensor=2,context=2")
    add("--throughput-network", default="faditv2_2b")
    add("--throughput-latents", default="1x16x4x64x112")
    add("--throughput-recompute", default="none", choices=["none", "selective", "full"])
    add("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS, metavar="NAME", help=", ".join(VARIANTS))
    add("--peak-tflops", type=float, nargs="+", help="for MFU; on CUDA 790 (measured on an H200), 989 (data sheet)")
    add("--profile", type=Path, metavar="FOLDER", help="write a table of the longest kernels of each variant")
    add("--steps", type=int, default=10, help="timed per round, after one that is not")
    add("--rounds", type=int, default=3, help="turns of all rows of a table")
    add("--checkpoint-mb", type=int, default=1024)
    add("--repeats", type=int, default=5, help="checkpoints")
    add("--folder", type=Path, help="where checkpoints are written (default: the system's temporary folder)")
    add("--threads", type=int, default=1, help="per process")
    add("--timeout", type=float, default=1200.0, help="seconds for one set of processes")
    add("--small", action="store_true", help="toy sizes: every table in a few minutes on one core")
    known = parser.parse_args(arguments)
    parser.set_defaults(**(ON_CPU if known.device == "cpu" else {}) | (SMALL if known.small else {}))
    return parser.parse_args(arguments)


def main() -> None:
    """Measure and print; exit status 1 if a row failed that could have been measured."""
    args, out, failed = parse(), sys.stdout.write, False
    torch.set_num_threads(args.threads)
    warnings.filterwarnings("ignore", message=".*torch.distributed is disabled.*")  # one process has no group
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("--device cuda and no usable GPU here: --device cpu")
    if args.profile:
        args.profile.mkdir(parents=True, exist_ok=True)
    out(f"{machine(args.device)}; {time.strftime('%Y-%m-%d')}\n")
    tables = {"meshes": mesh_rows, "recompute": recompute_rows, "pools": pool_rows, "checkpoint": checkpoint_rows,
              "throughput": throughput_rows}  # fmt: skip
    for part in args.parts:
        for line in tables[part](args):
            out(line)
            sys.stdout.flush()
            failed |= "failed: " in line
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
