"""``cosmos-lidar check``: verify shards against their manifest and checksums."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cosmos_lidar.shards.check import CheckResult

GROUP = "data"
HELP = "decode every part of a folder of shards and compare counts, checksums, splits and Energon's index"
EXAMPLE = "cosmos-lidar check shards/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("shards", metavar="SHARDS", type=Path, help="folder made by `cosmos-lidar prepare`")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    """Check shards; returns 0 if there is no problem, else 1."""
    from cosmos_lidar.shards.check import check_shards
    from cosmos_lidar.shards.videos import VIDEOS, check_videos

    if (args.shards / VIDEOS).is_file():
        wrong = [{"shard": shard, "key": key, "problem": problem} for shard, key, problem in check_videos(args.shards)]
        lines = [f"{row['problem']} [shard {row['shard']}, key {row['key']}]" for row in wrong]
        lines.append(f"{args.shards}: {len(wrong) or 'no'} problem(s)")
        sys.stdout.write((json.dumps({"problems": wrong}, indent=1) if args.json else "\n".join(lines)) + "\n")
        return 1 if wrong else 0
    result = check_shards(args.shards)
    sys.stdout.write(json.dumps(asdict(result), indent=1) + "\n" if args.json else _as_text(result))
    return 1 if result.problems else 0


def _as_text(result: CheckResult) -> str:
    lines = []
    for problem in result.problems:
        places = (("shard", problem.shard), ("clip", problem.clip), ("key", problem.key))
        where = ", ".join(f"{name} {value}" for name, value in places if value)
        lines.append(f"{problem.problem} [{where}]" if where else problem.problem)
    counts = f"{result.shards} shards, {result.samples} samples, {result.frames} frames, {result.bytes / 1e6:.1f} MB"
    lines.append(f"{counts}: {len(result.problems) or 'no'} problem(s)")
    return "\n".join(lines) + "\n"
