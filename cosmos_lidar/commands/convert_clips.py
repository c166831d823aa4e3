"""``cosmos-lidar convert-clips``: recordings from any format to any layout."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_lidar.arguments import out_folder, whole
from cosmos_lidar.commands._arguments import add_lidar_argument

if TYPE_CHECKING:
    from cosmos_lidar.clips import Clip

GROUP = "data"
HELP = "convert recordings from any format to another layout (release, kitti, ply, shards, …), resumable"
EXAMPLE = "cosmos-lidar convert-clips recordings/ converted/ --to ply --workers 4"
_SHARDS = "shards"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("source", metavar="SRC", type=Path, help="recordings, in any format that `inspect` recognizes")
    parser.add_argument(
        "out", metavar="DST", type=out_folder, help="folder to write to; the same command resumes in it"
    )
    parser.add_argument("--to", metavar="NAME", required=True, help="layout to write; an unknown name lists all")
    parser.add_argument("--format", metavar="NAME", help="reader to use (default: recognized from the files)")
    parser.add_argument("--sensor", metavar="NAME_OR_FILE", help="sensor, instead of the reader's choice")
    add_lidar_argument(parser)
    parser.add_argument("--clip", action="append", metavar="ID", help="only this clip (repeatable)")
    parser.add_argument("--frames", type=_span, metavar="[A:]B", help="frames A … B-1 of each clip (A: 0)")
    parser.add_argument("--caption", default="", metavar="TEXT", help="text about the clips, for layouts with captions")
    parser.add_argument("--workers", type=whole(1), default=1, metavar="N", help="processes (default 1)")
    parser.add_argument("--resume", action="store_true", help="resume in DST, or fail if nothing was converted there")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    """Convert; returns the exit status: 1 where a clip could not be converted."""
    from cosmos_lidar.clips.convert import REPORT, convert_clips
    from cosmos_lidar.clips.writers._contract import WriteOptions

    _expect_layout(args.to)
    errors: dict[str, str] = {}
    clips = _chosen(args, errors)
    if args.to == _SHARDS:
        return _prepare(args, clips, errors)
    options = WriteOptions(caption=args.caption)
    result = convert_clips(clips, args.out, args.to, options, args.workers, args.resume, errors)
    if args.json:
        sys.stdout.write(json.dumps({"layout": args.to, **result.to_json()}) + "\n")
    else:
        sys.stdout.write(_summary(result.to_json(), args.out / REPORT))
    return 1 if result.errors else 0


def _user_error(text: str) -> Exception:
    from cosmos_lidar.errors import UserError

    return UserError(text)


def _expect_layout(name: str) -> None:
    """Refuse an unknown layout before any recording is opened."""
    from cosmos_lidar.clips.convert import find_writers
    from cosmos_lidar.errors import nearest

    known = sorted((*find_writers(), _SHARDS))
    if name not in known:
        raise _user_error(f"--to {name}: did you mean {nearest(name, known)}? Layouts are {', '.join(known)}")


def _chosen(args: argparse.Namespace, errors: dict[str, str]) -> list[Clip]:
    """Return the clips to convert; those that cannot be opened go into ``errors``."""
    from cosmos_lidar.clips import open_clips
    from cosmos_lidar.clips.cut import cut_frames
    from cosmos_lidar.errors import DataError, nearest

    def note(error: DataError) -> None:
        errors[str(error.clip or error.file)] = str(error)

    clips = open_clips(args.source, args.format, args.sensor, note, args.lidar, args.columns)
    if args.clip:
        known = {clip.clip_id: clip for clip in clips}
        for name in args.clip:
            if name not in known and name not in errors:
                near = f": did you mean {nearest(name, known)}?" if known else ""
                raise _user_error(f"--clip {name}: no such clip in {args.source}{near}")
        clips = [known[name] for name in dict.fromkeys(args.clip) if name in known]
        for name in [name for name in errors if name not in args.clip]:
            del errors[name]
    if not clips and not errors:
        raise DataError("no clip in it", file=args.source, wanted="recordings")
    if args.frames is None:
        return clips
    cut = []
    for clip in clips:
        try:
            cut.append(cut_frames(clip, *args.frames))
        except DataError as error:
            note(error)
    return cut


def _prepare(args: argparse.Namespace, clips: list[Clip], errors: dict[str, str]) -> int:
    """Write one split of shards, as ``prepare --split 1`` does."""
    from cosmos_lidar.shards.plan import PrepareOptions
    from cosmos_lidar.shards.prepare import prepare_shards

    options = PrepareOptions(split=(1.0,), bad_budget=1.0)
    manifest = prepare_shards(clips, args.out, options, args.workers, args.resume)
    bad = {f"{one.clip} {one.frame}": one.problem for shard in manifest.shards for one in shard.bad_frames}
    frames = sum(shard.frames for shard in manifest.shards)
    report: dict[str, Any] = {
        "layout": _SHARDS,
        "frames": frames,
        "shards": len(manifest.shards),
        "errors": {**errors, **bad},
    }
    text = f"{frames} frames in {len(manifest.shards)} shards of split train; `prepare` has splits and budgets\n"
    text += "".join(f"error: {name}: {problem}\n" for name, problem in report["errors"].items())
    sys.stdout.write(json.dumps(report) + "\n" if args.json else text)
    return 1 if report["errors"] else 0


def _summary(report: dict[str, Any], file: Path) -> str:
    there = len(report["already_there"])
    lines = [
        f"{len(report['clips'])} clips, {report['frames']} frames, {report['bytes'] / 1e6:.1f} MB"
        + (f" ({there} were there already)" if there else "")
    ]
    for value, texts in report["not_representable"].items():
        for text, where in texts.items():
            lines.append(f"lost: {value}: {text} ({where['clips']} clips, such as {where['first']})")
    lines += [f"error: {clip}: {problem}" for clip, problem in report["errors"].items()]
    return "\n".join([*lines, f"report: {file}"]) + "\n"


def _span(text: str) -> tuple[int, int]:
    first, colon, last = text.rpartition(":")
    if not (last.isdecimal() and (first.isdecimal() or (not first and not colon))):
        raise argparse.ArgumentTypeError(f"{text!r}: expected B or A:B, such as 10 or 20:30")
    span = int(first or 0), int(last)
    if span[0] >= span[1]:
        raise argparse.ArgumentTypeError(f"{text!r}: no frame, as A is not below B")
    return span
