"""`cosmos-lidar inspect`: content and problems of a dataset."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from cosmos_lidar.arguments import whole
from cosmos_lidar.commands._arguments import add_lidar_argument

if TYPE_CHECKING:
    from cosmos_lidar.clips.finding import Finding
    from cosmos_lidar.clips.health import ClipHealth, LidarHealth

GROUP = "data"
HELP = "show and check a dataset: lidars, cameras, clocks, poses against sweeps, calibration, frozen frames"
EXAMPLE = "cosmos-lidar inspect ~/data/kitti/dataset"
_SHOWN = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("path", help="file or folder of a dataset")
    parser.add_argument("--format", help="reader, if it is not recognized (an unknown name lists the valid ones)")
    parser.add_argument("--sensor", help="sensor name or file, instead of the reader's choice")
    add_lidar_argument(parser)
    parser.add_argument("--fast", action="store_true", help="read only times and poses, no sweeps and images")
    text = "read N sweeps per lidar, and what comes after each (default 3)"
    parser.add_argument("--sweeps", type=whole(0), default=3, metavar="N", help=text)
    text = "only these checks, such as clock,motion (an unknown name lists the valid ones)"
    parser.add_argument("--checks", metavar="A,B", help=text)
    parser.add_argument("--json", action="store_true", help="write a JSON document instead of a table")


def run(args: argparse.Namespace) -> int:
    """Inspect a dataset; returns 1 if a clip has a problem."""
    from cosmos_lidar.clips import open_clips
    from cosmos_lidar.clips.checks._listing import find_checks
    from cosmos_lidar.clips.health import check_clip
    from cosmos_lidar.progress import track

    checks = None if args.checks is None else [name.strip() for name in args.checks.split(",") if name.strip()]
    find_checks(checks)  # an unknown name, before clips are opened
    broken: list[str] = []
    clips = open_clips(
        args.path,
        args.format,
        args.sensor,
        on_error=lambda error: broken.append(str(error)),
        lidar=args.lidar,
        columns=args.columns,
    )
    if args.lidar:
        clips = [replace(clip, lidars={args.lidar: clip.lidar}) for clip in clips]
    sweeps = 0 if args.fast else args.sweeps
    found = [check_clip(clip, sweeps, checks) for clip in track(clips, "inspect", "clips")]
    if args.json:
        sys.stdout.write(json.dumps({"clips": [one.to_dict() for one in found], "not_opened": broken}, indent=1) + "\n")
    else:
        _show(found, broken)
    return 1 if broken or any(one.problems for one in found) else 0


def _show(found: list[ClipHealth], broken: list[str]) -> None:
    from rich.console import Console

    from cosmos_lidar.clips.health import with_stream

    width = None if sys.stdout.isatty() else 280  # a file or a pipe has room
    console = Console(file=sys.stdout, markup=False, highlight=False, soft_wrap=True, width=width)
    if found:
        console.print(_table(found[:_SHOWN]))
    if len(found) > _SHOWN:
        console.print(f"… and {len(found) - _SHOWN} more clips (--json has all)")
    for note in dict.fromkeys(note for one in found for note in one.notes):
        of = [one.clip_id for one in found if note in one.notes]
        console.print(f"note: {note} ({of[0] if len(of) == 1 else f'{len(of)} clips'})")
    for severity, label in (("warning", "warning"), ("error", "PROBLEM")):
        for one in found:
            for finding in one.findings:
                if finding.severity == severity:
                    text = with_stream(finding, len(one.lidars) > 1)
                    console.print(f"{label} {one.clip_id}: {text}{_where(finding)}")
    for one in found:
        if not one.lidars and not one.cameras:
            console.print(f"PROBLEM {one.clip_id}: {one.problems[0]}")
    for text in broken:
        console.print(f"NOT OPENED: {text}")
    bad = sum(bool(one.problems) for one in found) + len(broken)
    frames = sum(one.frames for one in found)
    console.print(f"{len(found)} clips, {frames} frames, {bad or 'no'} clip{'' if bad == 1 else 's'} with problems")


def _where(finding: Finding) -> str:
    """Return kind, file and frame of a finding, as far as its text does not have them."""
    file = None if finding.file is None or finding.file in finding.text else finding.file
    frame = finding.frame_id or (None if finding.frame is None else str(finding.frame))
    parts = [finding.kind] + [f"{name} {value}" for name, value in (("file", file), ("frame", frame)) if value]
    return f" [{', '.join(parts)}]"


def _table(found: list[ClipHealth]) -> object:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name, justify in (
        ("clip", "left"), ("format", "left"), ("lidar", "left"), ("frames", "right"), ("s", "right"), ("Hz", "right"),
        ("sensor", "left"), ("points", "right"), ("returns", "right"), ("1/50/99 % range m", "right"),
        ("outside", "right"), ("poses", "left"), ("holds", "left"), ("cameras", "left"),
    ):  # fmt: skip
        table.add_column(name, justify=justify, overflow="fold")
    for one in found:
        cameras = ", ".join(f"{name} ({count})" for name, count in one.cameras.items()) or "-"
        rows = [_row(lidar) for lidar in one.lidars] or [("-",) * 11]
        for number, row in enumerate(rows):
            first, last = ((one.clip_id, one.format), cameras) if number == 0 else (("", ""), "")
            table.add_row(*first, *row, last)
    return table


def _row(one: LidarHealth) -> tuple[str, ...]:
    statistics = one.statistics
    points = valid = quantiles = outside = "-"
    if statistics is not None:
        points, valid = f"{statistics.returns_per_sweep:.0f}", f"{statistics.valid_share:.1%}"
        quantiles = "/".join(f"{v:.1f}" for v in statistics.range_quantiles_m or ()) or "-"
        outside = "-" if statistics.dropped_share is None else f"{statistics.dropped_share:.2%}"
    sensor = f"{one.sensor} {one.shape[0]}x{one.shape[1]}"
    rate = "-" if one.rate_hz is None else f"{one.rate_hz:.1f}"
    poses, holds = "yes" if one.poses else "no", " ".join(one.held) or "-"
    return (one.name, str(one.frames), f"{one.duration_s:.1f}", rate, sensor, points, valid, quantiles, outside,
            poses, holds)  # fmt: skip
