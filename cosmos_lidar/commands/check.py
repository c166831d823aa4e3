"""``cosmos-lidar check``: verify shards against their manifest and checksums."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_lidar.errors import DataError

if TYPE_CHECKING:
    from cosmos_lidar.shards.check import CheckResult

GROUP = "data"
HELP = "decode every part of shards and compare counts, checksums, splits and Energon's index"
EXAMPLE = "cosmos-lidar check shards/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    text = "folder of shards, several (a,b), or an Energon metadataset YAML, as data.path takes them"
    parser.add_argument("shards", metavar="SHARDS", help=text)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    text = "accept sample loaders (Python code) that a dataset.yaml names, with a warning; for folders that you trust"
    parser.add_argument("--trust-sample-loaders", action="store_true", help=text)
    text = "instead, show folder, shard, byte offsets, clip and frames of the sample with this key (batch.__key__)"
    parser.add_argument("--trace", metavar="KEY", help=text)


def run(args: argparse.Namespace) -> int:
    """Check shards; returns 0 if there is no problem, else 1."""
    from cosmos_lidar.shards.sources import folders_of

    folders = folders_of(args.shards)
    if args.trace is not None:
        return _trace(folders, args.trace, args.json)
    found = {str(folder): _check_folder(folder, args.trust_sample_loaders) for folder in folders}
    together = _check_mix(args.shards, args.trust_sample_loaders) if len(folders) > 1 else []
    if args.json:
        rows: Any = [{"folder": folder, **document} for folder, (document, _) in found.items()]
        document = rows[0] if len(rows) == 1 else {"folders": rows, "problems": together}
        if len(rows) == 1:
            del document["folder"]
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    else:
        for folder, (_, text) in found.items():
            sys.stdout.write(text if len(found) == 1 else f"{folder}\n{text}")
        sys.stdout.write("".join(f"{problem}\n" for problem in together))
    return 1 if together or any(document["problems"] for document, _ in found.values()) else 0


def _trace(folders: list[Path], key: str, as_json: bool) -> int:
    """Show where a sample lies; the error of the last folder where none has it."""
    from cosmos_lidar.shards.trace import Tracer

    found, missing = [], None
    for folder in folders:
        try:
            found += Tracer(folder).trace(key)
        except DataError as error:
            missing = error
    if missing is not None and not found:
        raise missing
    if as_json:
        sys.stdout.write(json.dumps({"samples": [asdict(one) for one in found]}, indent=1) + "\n")
        return 0
    for one in found:
        frames = f"{one.frame_ids[0]} to {one.frame_ids[-1]} ({len(one.frame_ids)})" if one.frame_ids else "not named"
        sys.stdout.write(
            f"{one.key}\n  dataset {one.folder}, split {', '.join(one.splits) or 'none'}\n"
            f"  shard   {one.shard}, bytes {one.start} to {one.stop}\n"
            f"  clip    {one.clip or 'not named'}, frames {frames}, sensor {one.sensor or 'not named'}\n"
        )
        for name, (start, size) in one.parts.items():
            sys.stdout.write(f"  part    {name}: {size} bytes at {start}\n")
    return 0


def _check_mix(text: str, trust: bool) -> list[str]:
    from cosmos_lidar.shards.check_mix import check_mix  # needs torch

    return check_mix(text, trust)


def _check_folder(folder: Path, trust: bool) -> tuple[dict[str, Any], str]:
    """Return what was found in one folder, as a document and as text."""
    from cosmos_lidar.shards.check import check_shards
    from cosmos_lidar.shards.check_index import check_indexed
    from cosmos_lidar.shards.manifest import ENERGON, MANIFEST, is_unfinished
    from cosmos_lidar.shards.videos import VIDEOS, check_videos

    if (folder / VIDEOS).is_file():
        wrong = [{"shard": shard, "key": key, "problem": problem} for shard, key, problem in check_videos(folder)]
        lines = [f"{row['problem']} [shard {row['shard']}, key {row['key']}]\n" for row in wrong]
        return {"problems": wrong}, "".join(lines) + f"{folder}: {len(wrong) or 'no'} problem(s)\n"
    indexed = (folder / ENERGON).is_dir() and not (folder / MANIFEST).is_file() and not is_unfinished(folder)
    result = check_indexed(folder, trust) if indexed else check_shards(folder)
    return asdict(result), _as_text(result)


def _as_text(result: CheckResult) -> str:
    lines = []
    for problem in result.problems:
        places = (("shard", problem.shard), ("clip", problem.clip), ("key", problem.key))
        where = ", ".join(f"{name} {value}" for name, value in places if value)
        lines.append(f"{problem.problem} [{where}]" if where else problem.problem)
    counts = f"{result.shards} shards, {result.samples} samples, {result.frames} frames, {result.bytes / 1e6:.1f} MB"
    lines.append(f"{counts}: {len(result.problems) or 'no'} problem(s)")
    return "\n".join(lines) + "\n"
