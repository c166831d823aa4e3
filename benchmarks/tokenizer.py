"""Speed and memory of an image tokenizer: encode and decode, per size, type and mode, as a Markdown table.

    python benchmarks/tokenizer.py --device cuda --dtypes float32 bfloat16 --modes eager channels_last compile
    OMP_NUM_THREADS=1 python benchmarks/tokenizer.py --quick

Weights are random: speed does not depend on them. Memory is what encoding and decoding need above the weights: the peak
of the CUDA allocator, or of the resident memory of the process (Linux only). Every row is measured in a fresh process.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from host import forget_resident_peak, processor, resident_peak_mib
from torch import Tensor, nn

from cosmos_lidar.models.tokenizer import build_tokenizer

QUICK = {"sizes": ["128x448"], "repeats": 2, "dtypes": ["float32", "bfloat16"], "modes": ["eager", "channels_last"]}


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    resolution: int
    channels: int
    height: int
    width: int
    batch: int
    device: str
    dtype: str
    mode: str


@dataclass(frozen=True)
class Measured:
    """Medians in seconds per batch, peak memory in MiB."""

    encode_s: float
    decode_s: float
    first_s: float
    peak_mib: float


def measure(case: Case, repeats: int) -> Measured:
    """Build the network of a case and time it."""
    torch.manual_seed(0)
    device, dtype = torch.device(case.device), getattr(torch, case.dtype)
    network = build_tokenizer(case.name, resolution=case.resolution, channels=case.channels).eval().to(device, dtype)
    x = torch.rand(case.batch, 3, case.height, case.width, device=device, dtype=dtype) * 2 - 1
    if case.mode != "eager":
        network, x = network.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    encode, decode = network.encode, network.decode
    if case.mode == "compile":
        encode, decode = torch.compile(encode), torch.compile(decode)
    before = start_counting_memory(device)
    with torch.inference_mode():
        started = time.perf_counter()
        codes = encode(x)
        z = codes[-1] if isinstance(codes, tuple) else codes
        decode(z)
        synchronize(device)
        first_s = time.perf_counter() - started
        times = [median_seconds(work, device, repeats) for work in (lambda: encode(x), lambda: decode(z))]
    return Measured(*times, first_s, peak_mib(device) - before)


def parameters(network: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def median_seconds(work: Callable[[], Tensor], device: torch.device, repeats: int) -> float:
    """Return the median time of one call."""
    times = []
    for _ in range(repeats):
        synchronize(device)
        started = time.perf_counter()
        work()
        synchronize(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def start_counting_memory(device: torch.device) -> float:
    """Reset the memory peak, and return the MiB in use; NaN if the system has no such number."""
    if device.type != "cuda":
        return forget_resident_peak()
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device) / 2**20


def peak_mib(device: torch.device) -> float:
    """Return peak memory in MiB since :func:`start_counting_memory`."""
    if device.type != "cuda":
        return resident_peak_mib()
    return torch.cuda.max_memory_allocated(device) / 2**20


def machine(device: str) -> str:
    """Return processor or GPU, threads and torch version."""
    if device.startswith("cuda"):
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}, CUDA {torch.version.cuda}"
    return f"{processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def table_row(case: Case, measured: Measured) -> str:
    """Return one row; frames per second count encoding and decoding together."""
    rate = case.batch / (measured.encode_s + measured.decode_s)
    cells = (
        f"{case.height} x {case.width}",
        case.batch,
        case.dtype,
        case.mode,
        f"{1e3 * measured.encode_s:.1f}",
        f"{1e3 * measured.decode_s:.1f}",
        f"{rate:.3g}",
        f"{measured.first_s:.1f}",
        f"{measured.peak_mib:.0f}",
    )
    return "| " + " | ".join(map(str, cells)) + " |\n"


def make_parser() -> argparse.ArgumentParser:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="CI8x8")
    parser.add_argument("--resolution", type=int, default=512, help="512: lidar decoder (default); 1024: plain")
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--sizes", nargs="+", default=["512x1800", "512x896", "128x448"], metavar="HxW")
    parser.add_argument("--dtypes", nargs="+", default=["float32"], choices=["float32", "bfloat16"])
    parser.add_argument("--modes", nargs="+", default=["eager"], choices=["eager", "channels_last", "compile"])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one small size in two types, about a minute on one core")
    return parser


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options; ``--quick`` changes the defaults, so that options beside it still count."""
    parser = make_parser()
    if parser.parse_args(arguments).quick:
        parser.set_defaults(**QUICK)
    return parser.parse_args(arguments)


def main() -> None:
    """Measure and print."""
    args = parse()
    cases = [
        Case(args.name, args.resolution, args.channels, *map(int, size.split("x")), args.batch, args.device, *options)
        for size in args.sizes for options in itertools.product(args.dtypes, args.modes)
    ]  # fmt: skip
    out = sys.stdout.write
    with torch.device("meta"):
        count = parameters(build_tokenizer(args.name, resolution=args.resolution, channels=args.channels))
    out(f"{args.name}, resolution {args.resolution}, {count:,} parameters; {machine(args.device)}; ")
    out(f"{time.strftime('%Y-%m-%d')}\n\n")
    out("| size | batch | type | mode | encode ms | decode ms | frames/s | first call s | peak MiB |\n")
    out("|---" * 9 + "|\n")
    for case in cases:
        with multiprocessing.get_context("spawn").Pool(1) as fresh:  # its own peak memory, its own compile cache
            out(table_row(case, fresh.apply(measure, (case, args.repeats))))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
