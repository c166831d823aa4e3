"""``cosmos-lidar view``: show a recording or prepared shards as an HTML page or a Rerun file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_lidar.arguments import out_file
from cosmos_lidar.commands._arguments import add_flag, add_lidar_argument
from cosmos_lidar.errors import UserError

if TYPE_CHECKING:
    from cosmos_lidar.clips import Clip

GROUP = "data"
HELP = "write an HTML page or a Rerun file with range maps, point clouds, cameras with lidar on them, and the ego path"
EXAMPLE = "cosmos-lidar view ~/data/kitti/raw --html kitti.html --frames 20"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("path", type=Path, help="file or folder of a dataset, or a folder of prepared shards")
    parser.add_argument(
        "--html", "--out", dest="html", type=out_file, metavar="OUT.html",
        help="page to write; opens offline in any browser (default: the name of PATH, in this folder)",
    )  # fmt: skip
    parser.add_argument("--rrd", type=out_file, metavar="OUT.rrd", help="Rerun file to write, of the first clip shown")
    parser.add_argument("--format", help="reader, if it is not recognized (an unknown name lists the valid ones)")
    parser.add_argument("--sensor", help="sensor name or file, instead of the reader's choice")
    add_lidar_argument(parser)
    parser.add_argument("--clip", metavar="ID", help="clip whose id starts with this (default: the first clips)")
    parser.add_argument("--clips", type=int, default=1, metavar="N", help="number of clips on the page (default 1)")
    parser.add_argument("--frames", type=int, default=5, metavar="N", help="frames per clip on the page (default 5)")
    add_flag(
        parser, "points", type=int, default=30_000, metavar="N",
        help="points per sweep in the 3D view, chosen at random; a third of them on each image (default 30000)",
    )  # fmt: skip
    add_flag(parser, "image_width", type=int, default=960, metavar="PX", help="largest width of images (default 960)")
    add_flag(
        parser, "megabytes", type=float, default=30.0, metavar="MB",
        help="largest size of the page; frames that do not fit are left out, evenly (default 30)",
    )  # fmt: skip


def needs(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the optional packages that the command needs."""
    return ("rerun",) if args.rrd else ()


def run(args: argparse.Namespace) -> int:
    """Write the files; returns the exit status."""
    from cosmos_lidar.viz.recording_frames import PageLimits

    if args.clips < 1 or args.frames < 1:
        raise UserError(f"--clips {args.clips} --frames {args.frames}: expected at least 1")
    limits = PageLimits(args.points, args.image_width, args.megabytes)
    clips = _choose(_open(args), args)
    page = args.html
    if page is None and args.rrd is None:
        page = Path(f"{args.path.resolve().name or 'recording'}.html")
    if page is not None:
        from cosmos_lidar.viz.recording import write_recording_report

        written = write_recording_report(page, args.path.resolve().name, clips, args.frames, limits)
        sys.stdout.write(f"{written}\n")
    if args.rrd is not None:
        from cosmos_lidar.viz.rerun_export import write_rrd

        sys.stdout.write(f"{write_rrd(args.rrd, clips[0])}\n")
    return 0


def _open(args: argparse.Namespace) -> list[Clip]:
    from cosmos_lidar.clips import open_clips
    from cosmos_lidar.shards.clips import is_shards, open_shards

    if not is_shards(args.path) or args.format not in (None, "shards"):
        return open_clips(args.path, args.format, args.sensor, lidar=args.lidar, columns=args.columns)
    for name in ("sensor", "lidar", "columns"):
        if getattr(args, name) is not None:
            raise UserError(f"--{name} is not valid for prepared shards: {args.path} has one lidar and its sensor file")
    return open_shards(args.path)


def _choose(clips: list[Clip], args: argparse.Namespace) -> list[Clip]:
    if args.clip is None:
        return clips[: args.clips]
    chosen = [clip for clip in clips if clip.clip_id.startswith(args.clip)]
    if not chosen:
        names = ", ".join(clip.clip_id for clip in clips[:10])
        raise UserError(f"no clip starts with {args.clip!r}; valid: {names}{' …' if len(clips) > 10 else ''}")
    return chosen[: args.clips]
