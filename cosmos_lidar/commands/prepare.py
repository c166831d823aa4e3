"""``cosmos-lidar prepare``: convert recordings to Energon shards."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_lidar.arguments import decimal, out_folder, whole
from cosmos_lidar.commands._arguments import PUBLISHED, add_image_rule, add_lidar_argument, split_or_name

if TYPE_CHECKING:
    from cosmos_lidar.clips import Clip
    from cosmos_lidar.shards.files import ShardRecord
    from cosmos_lidar.shards.manifest import Manifest
    from cosmos_lidar.shards.multiview_writer import MultiviewOptions
    from cosmos_lidar.shards.plan import PrepareOptions

GROUP = "data"
TASKS = ("sweeps", "videos", "views", "multiview", "points")
HELP = "convert recordings to Energon (webdataset) shards, split by drive, resumable"
EXAMPLE = "cosmos-lidar prepare recordings/ shards/ --format kitti --split 0.9,0.1,0 --jobs 4"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("source", metavar="SRC", type=Path, help="recordings, in any format that `inspect` recognizes")
    parser.add_argument(
        "out", metavar="OUT", type=out_folder, help="folder for the shards; the same command resumes in it"
    )
    parser.add_argument("--format", help="reader to use (default: recognized from the files)")
    parser.add_argument("--sensor", help="name or file of the sensor, instead of the reader's choice")
    add_lidar_argument(parser)
    _add_split(parser)
    parser.add_argument(
        "--frames-per-sample", type=whole(1), metavar="N",
        help="frames per sample (default 10; multiview: as many as there are without a gap)",
    )  # fmt: skip
    parser.add_argument(
        "--samples-per-shard", type=whole(1), default=64, metavar="N", help="samples per tar (default 64)"
    )
    parser.add_argument("--jobs", type=whole(1), default=1, metavar="N", help="worker processes (default 1)")
    parser.add_argument(
        "--task", choices=TASKS,
        help="what to write: lidar sweeps as range maps (the usual), cameras as single videos, frames with images for "
        "camera-to-lidar (views), clips of several cameras on one clock (multiview), or sweeps as points with labels "
        "and poses, for sparse networks (points)",
    )  # fmt: skip
    parser.add_argument(
        "--labeled", action="store_true", help="points: leave out, and count, sweeps without semantic labels"
    )
    parser.add_argument(
        "--image-features", type=Path, metavar="DIR",
        help="points: folder of CLIP/CAMERA/NUMBER.npy (.npz, .safetensors), features (h, w, D) of camera images that "
        "become part of the samples; --tolerance as of views (default 0.1)",
    )  # fmt: skip
    parser.add_argument(
        "--videos", action="store_true", help="write the cameras of the recordings as videos, without the lidar"
    )
    parser.add_argument(
        "--views", metavar="A,B,C",
        help="write single frames with the images of these cameras, or of `all`, for camera-to-lidar diffusion; "
        "multiview: cameras in the order of the views (default all), with view ids: front=0,left=5",
    )  # fmt: skip
    parser.add_argument(
        "--image-size",
        metavar="HxW",
        help="image size of views (default 704x1280) and multiview (default: as recorded)",
    )
    parser.add_argument(
        "--tolerance", type=decimal(0), metavar="S",
        help="largest time from an image to the middle of the sweep (views, default 0.06), or to the instant of the "
        "clock (multiview, default three quarters of the camera's period), seconds",
    )  # fmt: skip
    _add_multiview(parser)
    add_image_rule(parser, "--views: ")
    parser.add_argument(
        "--part", metavar="K/N",
        help="write every Nth shard from the Kth on, beside other jobs; then the same command without --part merges",
    )  # fmt: skip
    parser.add_argument(
        "--resume", action="store_true", help="resume an interrupted run in OUT, or fail if there is none"
    )
    parser.add_argument(
        "--bad-budget", type=decimal(0, most=1), default=0.001, metavar="SHARE",
        help="stop if more than this ratio of frames is unusable (default 0.001)",
    )  # fmt: skip


def _add_split(parser: argparse.ArgumentParser) -> None:
    """Add the options of how drives are divided among train, val and test."""
    parser.add_argument(
        "--split", type=split_or_name, default=(0.9, 0.1, 0.0), metavar="A,B,C|NAME|FILE",
        help="ratios of drives for train, val and test (default 0.9,0.1,0), where every ratio above 0 gets a drive; or "
        "the published split of a dataset (av2, nuscenes, nuscenes_mini, waymo, …; `published`: the recordings' own); "
        "or the file (.yaml) in which the tools of nuPlan or NAVSIM have theirs",
    )  # fmt: skip
    parser.add_argument(
        "--skip-unlisted", action="store_true",
        help="leave out, and count, clips that are in no list of the published split, instead of refusing them",
    )  # fmt: skip
    parser.add_argument(
        "--split-list", type=_paths, default=(), metavar="TRAIN.lst,VAL.lst[,TEST.lst]",
        help="files of clip ids, one per line, instead of --split",
    )  # fmt: skip
    parser.add_argument(
        "--drive-pattern", default="^.*$", metavar="REGEX",
        help="clips whose ids have the same match are one drive and share a split (default: every clip is a drive)",
    )  # fmt: skip
    parser.add_argument(
        "--whole-drives", action="store_true",
        help="end shards where drives end: splitting the shards again, by whole tars, divides no drive",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="seed of the split (default 0)")


def _add_multiview(parser: argparse.ArgumentParser) -> None:
    """Add the options of clips of several cameras: clock, files, captions."""
    parser.add_argument(
        "--fps",
        type=decimal(0),
        default=0.0,
        help="multiview: rate of the common clock (default: that of the first camera)",
    )
    parser.add_argument("--frames-as", choices=("mp4", "jpg"), default="mp4", help="multiview: a video, or JPEG files")
    parser.add_argument(
        "--captions", type=Path, metavar="PATH",
        help="multiview: folder of CAMERA/CLIP.txt or CLIP.txt, or a .json file {clip: caption}",
    )  # fmt: skip
    parser.add_argument(
        "--text", type=Path, metavar="DIR",
        help="multiview: folder of CAMERA/CLIP.safetensors, .pkl or .pickle, embeddings of the captions",
    )  # fmt: skip
    parser.add_argument("--prompt", metavar="TEXT", help="multiview: caption of all clips that have none")
    parser.add_argument(
        "--control", default="", metavar="KIND,KIND",
        help="multiview: control videos beside those of the cameras: depth (returns of the lidar), boxes, lanes",
    )  # fmt: skip
    parser.add_argument(
        "--sweeps", metavar="ROWSxCOLUMNS",
        help="multiview: range images of the main lidar beside the videos, such as 64x512",
    )  # fmt: skip


def needs(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the optional packages that the command needs."""
    return ("megatron.energon",)


def run(args: argparse.Namespace) -> int:
    """Convert recordings; returns the exit status."""
    from cosmos_lidar.clips import open_clips
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.shards.prepare import prepare_shards

    task = _task(args)
    if args.part and task != "sweeps":
        raise UserError(f"--part: parts are of lidar sweeps; {task} are prepared by one job")
    if args.labeled and task != "points":
        raise UserError("--labeled: only with --task points")
    if args.image_features and task != "points":
        raise UserError("--image-features: only with --task points")
    if task != "sweeps":
        prepare = {
            "views": _prepare_views,
            "videos": _prepare_videos,
            "multiview": _prepare_multiview,
            "points": _prepare_points,
        }
        return prepare[task](args)
    clips = open_clips(args.source, format=args.format, sensor=args.sensor, lidar=args.lidar, columns=args.columns)
    if args.part:
        return _prepare_part(clips, args)
    manifest = prepare_shards(clips, args.out, _options(args, clips), args.jobs, args.resume)
    sys.stdout.write(_summary(manifest, args.out, sum(len(clip) > 0 for clip in clips)))
    return 0


def _task(args: argparse.Namespace) -> str:
    """Return what is to be written, by --task, by the options that stand for one, or by what the source holds."""
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.shards.videos import holds_only_videos

    implied = "videos" if args.videos else "views" if args.views and args.task != "multiview" else None
    if args.task and implied and args.task != implied:
        raise UserError(f"--task {args.task} excludes --{implied}")
    return args.task or implied or ("videos" if holds_only_videos(args.source) else "sweeps")


def _prepare_part(clips: list[Clip], args: argparse.Namespace) -> int:
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.shards.parts import Part
    from cosmos_lidar.shards.prepare import prepare_part

    if args.resume:
        raise UserError("--part resumes by itself: leave out --resume")
    part = Part.parse(args.part)
    records = prepare_part(clips, args.out, part, _options(args, clips), args.jobs)
    frames, size = sum(record.frames for record in records), sum(record.bytes for record in records)
    bad = sum(len(record.bad_frames) for record in records)
    text = f"part {part.number} of {part.count}: {len(records)} shards, {frames} frames, {size / 1e6:.1f} MB"
    sys.stdout.write(f"{text}, {bad} frames skipped\nwhen all parts are done: the same command without --part\n")
    return 0


def _prepare_views(args: argparse.Namespace) -> int:
    from cosmos_lidar.clips import open_clips
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.families.lidargen.prepare import write_views
    from cosmos_lidar.families.lidargen.views import FrameViews

    if args.resume or args.videos:
        raise UserError("--views excludes --resume and --videos")
    size = _image_size(args.image_size or "704x1280")
    clips = open_clips(args.source, format=args.format, sensor=args.sensor, lidar=args.lidar, columns=args.columns)
    names = tuple(clips[0].cameras) if (args.views or "all") == "all" else tuple(args.views.split(","))
    if not names:
        raise UserError(f"{args.source} has no cameras")
    tolerance_s = 0.06 if args.tolerance is None else args.tolerance
    views = FrameViews(cameras=names, image_size=size, tolerance_s=tolerance_s, image_rule=args.image_rule)
    counts = write_views(clips, views, args.out, _options(args, clips))
    shown = ", ".join(f"{split} {count}" for split, count in counts.items())
    sys.stdout.write(f"{args.out}: {shown} frames with {', '.join(names)}\n")
    return 0


def _image_size(text: str, option: str = "--image-size", step: int = 8, such_as: str = "704x1280") -> tuple[int, int]:
    from cosmos_lidar.errors import UserError

    height, _, width = text.partition("x")
    if (
        not (height.isdecimal() and width.isdecimal())
        or int(height) % step
        or int(width) % step
        or "0" in (height, width)
    ):
        raise UserError(f"{option} {text}: expected two multiples of {step}, such as {such_as}")
    return int(height), int(width)


def _prepare_multiview(args: argparse.Namespace) -> int:
    from cosmos_lidar.clips import open_clips
    from cosmos_lidar.clips.controls import parse_controls
    from cosmos_lidar.shards.captions import read_captions
    from cosmos_lidar.shards.multiview_writer import MultiviewOptions, write_multiview

    options = MultiviewOptions(
        views=args.views or "all",
        fps=args.fps,
        image_size=_image_size(args.image_size) if args.image_size else None,
        format=args.frames_as,
        tolerance_s=args.tolerance,
        frames_per_sample=args.frames_per_sample or 0,
        captions=read_captions(args.captions, args.prompt),
        embeddings=args.text,
        controls=parse_controls(args.control),
        sweeps=_image_size(args.sweeps, "--sweeps", 16, "64x512") if args.sweeps else (),
    )
    options = _with_published_texts(options, args)
    clips = open_clips(args.source, format=args.format, sensor=args.sensor, lidar=args.lidar, columns=args.columns)
    records = write_multiview(clips, args.out, options, _options(args, clips), args.jobs)
    _write_totals(records, "samples", args.out)
    return 0


def _with_published_texts(options: MultiviewOptions, args: argparse.Namespace) -> MultiviewOptions:
    """Return options with captions and embeddings of a source of published layout, where none are given."""
    from dataclasses import replace

    from cosmos_lidar.clips.multiview_folder import CAPTIONS, EMBEDDINGS, find_multiview_folder
    from cosmos_lidar.shards.captions import read_captions
    from cosmos_lidar.shards.multiview_folder import embedded_prefixes

    folder = find_multiview_folder(args.source)
    if folder is None:
        return options
    if args.captions is None and (folder.root / CAPTIONS).is_dir():
        options = replace(options, captions=read_captions(folder.root / CAPTIONS, args.prompt))
    if args.text is None and (folder.root / EMBEDDINGS).is_dir():
        options = replace(options, embeddings=folder.root / EMBEDDINGS)
    return replace(options, prefixes=embedded_prefixes(folder) or {})


def _prepare_points(args: argparse.Namespace) -> int:
    from cosmos_lidar.clips import open_clips
    from cosmos_lidar.clips.image_features import FeatureFiles
    from cosmos_lidar.shards.points_writer import write_points

    clips = open_clips(args.source, format=args.format, sensor=args.sensor, lidar=args.lidar, columns=args.columns)
    tolerance = FeatureFiles.tolerance_s if args.tolerance is None else args.tolerance
    images = FeatureFiles(args.image_features, tolerance) if args.image_features else None
    written = write_points(clips, args.out, _options(args, clips), args.labeled, args.jobs, images)
    _write_totals(written.shards, "sweeps", args.out)
    if args.labeled:
        sys.stdout.write(f"{written.without_labels} sweeps without labels left out\n")
    return 0


def _prepare_videos(args: argparse.Namespace) -> int:
    from cosmos_lidar.shards.videos import camera_videos, find_videos, holds_only_videos, prepare_videos

    clips: list[Clip] = []
    if holds_only_videos(args.source):
        sources = find_videos(args.source)
    else:
        from cosmos_lidar.clips import open_clips

        clips = open_clips(args.source, format=args.format, sensor=args.sensor, columns=args.columns)
        sources = camera_videos(clips)
    records = prepare_videos(sources, args.out, _options(args, clips), args.jobs)
    _write_totals(records, "videos", args.out)
    return 0


def _write_totals(records: list[ShardRecord], unit: str, out: Path) -> None:
    for split in dict.fromkeys(record.split for record in records):
        mine = [record for record in records if record.split == split]
        frames, size = sum(record.frames for record in mine), sum(record.bytes for record in mine)
        count = sum(record.samples for record in mine)
        sys.stdout.write(f"{split}: {count} {unit}, {frames} frames, {len(mine)} shards, {size / 1e6:.1f} MB\n")
    bad = len(json.loads((out / "report.json").read_text())["left_out"])
    what = unit.removesuffix("s")
    sys.stdout.write(f"{bad} {unit} skipped (see {out / 'report.json'})\n" if bad else f"no {what} skipped\n")


def _options(args: argparse.Namespace, clips: list[Clip]) -> PrepareOptions:
    from cosmos_lidar.shards.plan import PrepareOptions

    return PrepareOptions(
        **({"published": _published(args, clips)} if isinstance(args.split, str) else {"split": args.split}),
        split_lists=args.split_list,
        skip_unlisted=args.skip_unlisted,
        whole_drives=args.whole_drives,
        drive_pattern=args.drive_pattern,
        frames_per_sample=10 if args.frames_per_sample is None else args.frames_per_sample,
        samples_per_shard=args.samples_per_shard,
        seed=args.seed,
        bad_budget=args.bad_budget,
    )


def _published(args: argparse.Namespace, clips: list[Clip]) -> str:
    """Return the name of the published split that is asked for."""
    from cosmos_lidar.clips.splits import split_names
    from cosmos_lidar.errors import UserError

    name = str(args.split)
    if name != PUBLISHED:
        return name
    formats = sorted({clip.format for clip in clips})
    if len(formats) != 1 or formats[0] not in split_names():
        found = f"recordings of format {', '.join(formats)}" if formats else "videos"
        raise UserError(f"--split published: {found} have no published split; known are {', '.join(split_names())}")
    return formats[0]


def _summary(manifest: Manifest, out: Path, recorded: int) -> str:
    lines = []
    for split, clips in manifest.splits.items():
        shards = manifest.of_split(split)
        frames, size = sum(shard.frames for shard in shards), sum(shard.bytes for shard in shards)
        lines.append(f"{split}: {len(clips)} clips, {frames} frames, {len(shards)} shards, {size / 1e6:.1f} MB")
    left_out = recorded - sum(len(clips) for clips in manifest.splits.values())
    if left_out:
        lines.append(f"{left_out} clips are in no list and left out")
    bad = sum(len(shard.bad_frames) for shard in manifest.shards)
    lines.append(f"{bad} frames skipped (see {out / 'report.json'})" if bad else "no frame skipped")
    return "\n".join(lines) + "\n"


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(Path(path) for path in text.split(","))
