"""Speed beside what a user would take instead: Diffusers, spconv, webdataset, devkits, torch.save; all in one run.

    OMP_NUM_THREADS=1 python benchmarks/peers.py [--pairs wan_vae shard …] [--rounds 7] [--small] [--json]

The two sides of a pair do the same work in turn, so that other programs on the machine slow both down. ``ratio`` is the
median over the rounds of the peer's time over ours: above 1 ours is faster. ``spread`` is its lowest and highest round.
Times are processor times of all threads; of checkpoints wall time, and of ours only until training goes on.
``share`` is ours beside what this machine can do at best, measured first: the rate of its fp32 matrix products, of
copies in memory, or of its disk. A peer that is not installed is named and left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from host import processor
from tables import row, table_head

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))  # the encoders of the tests

from peer_pairs import Pair, checkpoints, data, networks  # noqa: E402

MAKERS = networks.MAKERS | data.MAKERS | checkpoints.MAKERS


@dataclass(frozen=True)
class Limits:
    """Rates of this machine: floating-point operations per second of fp32 matrix products, bytes per second."""

    matrix_products: float
    copy: float
    disk: float


@dataclass(frozen=True)
class Result:
    """One row: seconds are medians, ``ratio`` that of the rounds."""

    name: str
    work: str
    peer: str
    ours_s: float
    theirs_s: float
    ratio: float
    lowest: float
    highest: float
    share: float | None
    limit: str


def best(work: Callable[[], object], rounds: int, clock: Callable[[], float]) -> float:
    """Return the shortest of some rounds in seconds, after one that does not count."""
    return min([_timed(work, clock) for _ in range(rounds + 1)][1:])


def _timed(work: Callable[[], object], clock: Callable[[], float]) -> float:
    started = clock()
    work()
    return clock() - started


def measure_limits(small: bool) -> Limits:
    """Return what this machine does at best."""
    side, size = (256, 1 << 20) if small else (1536, 1 << 28)
    a, b = torch.rand(side, side), torch.rand(side, side)
    source, target = torch.zeros(size // 4), torch.zeros(size // 4)
    block = os.urandom(1 << 20)

    def write() -> None:
        with tempfile.NamedTemporaryFile() as stream:
            for _ in range(size >> 20):
                stream.write(block)
            stream.flush()
            os.fsync(stream.fileno())

    return Limits(
        2 * side**3 / best(lambda: torch.mm(a, b), 5, time.process_time),
        size / best(lambda: target.copy_(source), 5, time.process_time),
        size / best(write, 2, time.perf_counter),
    )


def measure(name: str, pair: Pair, rounds: int, limits: Limits) -> Result:
    """Take turns, after one round that does not count."""
    clock = time.process_time if pair.clock == "cpu" else time.perf_counter
    times = []
    for _ in range(rounds + 1):
        started = clock()
        waited = pair.ours()
        ours = float(waited) if pair.clock == "returned" else clock() - started
        times.append((ours, _timed(pair.theirs, clock)))
    ratios = [theirs / max(ours, 1e-9) for ours, theirs in times[1:]]
    ours, theirs = (statistics.median(column) for column in zip(*times[1:], strict=True))
    share, limit = _share(pair, ours, limits)
    return Result(
        name, pair.work, pair.peer, ours, theirs, statistics.median(ratios), min(ratios), max(ratios), share, limit
    )


def _share(pair: Pair, ours: float, limits: Limits) -> tuple[float | None, str]:
    """Return our rate over the machine's, and the name of that limit."""
    if pair.flops:
        return pair.flops / ours / limits.matrix_products, "matrix products"
    if not pair.bytes:
        return None, ""
    if pair.ours_alone is not None:
        ours = best(pair.ours_alone, 2, time.perf_counter)
    return pair.bytes / ours / getattr(limits, pair.limit), pair.limit


def results(names: list[str], rounds: int, small: bool, limits: Limits) -> Iterator[Result | str]:
    """Yield rows, or the text of a pair that is left out."""
    for name in names:
        torch.manual_seed(0)
        try:
            pair = MAKERS[name](small)
        except ModuleNotFoundError as error:
            yield f"{name}: {error.name} is not installed"
            continue
        yield measure(name, pair, rounds, limits)


def machine() -> str:
    """Return processor, threads and versions."""
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    return f"{processor()}, {torch.get_num_threads()} threads, {versions}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", choices=list(MAKERS), default=list(MAKERS), metavar="NAME",
                        help=f"valid: {', '.join(MAKERS)}")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--small", action="store_true", help="small sizes: shows that it runs, no rates")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    limits = measure_limits(args.small)
    found = results(args.pairs, args.rounds, args.small, limits)
    out = sys.stdout.write
    if args.json:
        rows = list(found)
        document = {
            "machine": machine(),
            "limits": asdict(limits),
            "rows": [asdict(one) for one in rows if isinstance(one, Result)],
            "left_out": [one for one in rows if isinstance(one, str)],
        }
        out(json.dumps(document, indent=1) + "\n")
        return
    out(f"{machine()}; median of {args.rounds} rounds in turn; {time.strftime('%Y-%m-%d')}\n")
    out(f"limits: {limits.matrix_products / 1e9:.0f} GFLOP/s fp32 matrix products, ")
    out(f"{limits.copy / 1e9:.1f} GB/s copies, ")
    out(f"{limits.disk / 1e6:.0f} MB/s to disk\n\n")
    out(table_head("work", "peer", "ours ms", "peer ms", "ratio", "spread", "share of the machine"))
    left_out = []
    for one in found:
        if isinstance(one, str):
            left_out.append(one)
            continue
        share = "" if one.share is None else f"{one.share:.2f} of {one.limit}"
        out(row(one.work, one.peer, f"{1e3 * one.ours_s:.3g}", f"{1e3 * one.theirs_s:.3g}", f"{one.ratio:.2f}",
                f"{one.lowest:.2f} to {one.highest:.2f}", share))  # fmt: skip
        sys.stdout.flush()
    out("".join(f"\nleft out: {text}" for text in left_out) + ("\n" if left_out else ""))


if __name__ == "__main__":
    main()
