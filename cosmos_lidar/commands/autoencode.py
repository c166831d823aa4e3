"""``cosmos-lidar autoencode``: encode and decode lidar drives; videos, range images, point clouds and metrics."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_lidar.arguments import decimal, out_folder
from cosmos_lidar.commands._arguments import (
    add_data_arguments,
    add_flag,
    add_image_arguments,
    add_tokenizer_arguments,
)

if TYPE_CHECKING:
    from cosmos_lidar.clips import Clip
    from cosmos_lidar.families.lidar_tokenizer.autoencode import DecodedFrame
    from cosmos_lidar.families.lidar_tokenizer.open import OpenTokenizer
    from cosmos_lidar.progress import Meter
    from cosmos_lidar.viz.range_map import RangeLimits

GROUP = "tokenizers"
HELP = "encode and decode lidar drives; write videos, range maps, point clouds and metrics"
EXAMPLE = "cosmos-lidar autoencode --sample_path drives/lidar/CLIP.tar --checkpoint checkpoints/lidar --output_folder a"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options: names and defaults of the published command; docs/autoencode.md has the differences."""
    add_flag(parser, "sample_path", "--data", required=True, metavar="PATH", help="recording: file or folder")
    add_tokenizer_arguments(parser)
    add_data_arguments(parser, max_frames=20)
    add_image_arguments(parser)
    add_flag(parser, "output_folder", default="", metavar="NAME", help="folder of the results: OUTPUT_ROOT/NAME")
    root = "dump_results/lidar_tokenizer"
    add_flag(parser, "output_root", type=out_folder, default=root, metavar="DIR", help="default %(default)s")
    add_flag(
        parser, "vis_pcd", type=int, choices=(0, 1), default=1, help="1 (default) writes a video of the point clouds"
    )
    add_flag(parser, "fps", type=decimal(above=0), default=10.0, help="frame rate of the videos (default 10)")
    add_flag(
        parser, "colormap", default="Spectral", help="color map of the range maps: Spectral (default), turbo, viridis"
    )
    add_flag(
        parser,
        "color_limits",
        type=float,
        nargs=2,
        metavar=("NEAR", "FAR"),
        help="ranges in meters of the two ends of the color map (default: as published, quantiles of the middle frame)",
    )


def run(args: argparse.Namespace) -> int:
    """Autoencode every selected clip and print the paths of the results."""
    from cosmos_lidar.commands._tokenizer_setup import choose_clips, tokenizer_of
    from cosmos_lidar.families.lidar_tokenizer.autoencode import count_frames
    from cosmos_lidar.progress import Meter
    from cosmos_lidar.viz.colormap import colormap_table

    colormap_table(args.colormap)
    _color_limits(args)
    clips = choose_clips(args.sample_path, args)
    tokenizer = tokenizer_of(args)
    total = sum(count_frames(clip, args.max_frames) for clip in clips)
    with Meter("autoencode", "frames", total) as meter:
        bad = [clip for clip in clips if not _done(clip, len(clips) > 1, tokenizer, args, meter)]
    if bad:
        sys.stdout.write(f"{len(clips) - len(bad)} of {len(clips)} clips; {len(bad)} skipped\n")
    return 1 if bad else 0


def _done(clip: Clip, one_of_many: bool, tokenizer: OpenTokenizer, args: argparse.Namespace, meter: Meter) -> bool:
    """Autoencode a clip; returns False where it cannot be used and others go on."""
    from cosmos_lidar.errors import problem_of
    from cosmos_lidar.log import logger

    try:
        _autoencode(clip, tokenizer, args, meter)
    except Exception as error:  # one odd clip ends no work on the others
        if not one_of_many:
            raise
        logger.warning("skipped: clip %s: %s", clip.clip_id, problem_of(error))
        sys.stdout.write(f"{clip.clip_id}: skipped: {problem_of(error)}\n")
        return False
    return True


def _autoencode(clip: Clip, tokenizer: OpenTokenizer, args: argparse.Namespace, meter: Meter) -> None:
    from cosmos_lidar.commands._tokenizer_setup import choose_options
    from cosmos_lidar.families.lidar_tokenizer.autoencode import (
        autoencode_clip,
        autoencode_frames,
        count_frames,
        decodes_validity,
        full_directions,
    )
    from cosmos_lidar.families.lidar_tokenizer.outputs import OutputOptions, published_limits, write_outputs
    from cosmos_lidar.families.lidar_tokenizer.score import ClipScore, describe_protocol
    from cosmos_lidar.files import write_json

    options = choose_options(args, clip.sensor, tokenizer.network)
    folder = Path(args.output_root) / args.output_folder
    output = OutputOptions(folder, args.fps, args.colormap, bool(args.vis_pcd))
    score = ClipScore(options, full_directions(clip.sensor, options))
    frames = autoencode_clip(tokenizer.network, clip, options, args.max_frames, tokenizer.device, tokenizer.dtype)
    limits = _color_limits(args)
    if limits is None:
        number, where = count_frames(clip, args.max_frames) // 2, (tokenizer.device, tokenizer.dtype)
        limits = published_limits(*autoencode_frames(tokenizer.network, clip, [number], options, *where))
    written = write_outputs(clip.clip_id, _counted(frames, meter), score, limits, output)
    metrics = folder / "metrics" / f"{clip.clip_id}.json"
    document = {
        "clip": clip.clip_id,
        "source": str(clip.source),
        "format": clip.format,
        "tokenizer": tokenizer.description,
        "sensor_fingerprint": clip.sensor.fingerprint(),
        "device": str(tokenizer.device),
        "metrics": score.to_dict(),
        "protocol": describe_protocol(
            clip.sensor,
            options,
            args.tokenizer_dtype,
            args.max_frames,
            validity=decodes_validity(tokenizer.network),
        ),
    }
    write_json(metrics, document)
    errors, rate = score.errors.result().published, score.frames / max(score.seconds, 1e-9)
    sys.stdout.write(
        f"{clip.clip_id}: {score.frames} frames, RMSE {errors.rmse_m:.4f} m, MAE {errors.mae_m:.4f} m, "
        f"relative error {errors.relative:.5f}, {rate:.2f} frames/s encoded and decoded\n"
    )
    sys.stdout.write("".join(f"  {path}\n" for path in (*written, metrics)))


def _color_limits(args: argparse.Namespace) -> RangeLimits | None:
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.viz.range_map import RangeLimits

    if args.color_limits is None:
        return None
    near_m, far_m = args.color_limits
    if not 0 < near_m < far_m < float("inf"):
        raise UserError(f"--color_limits {near_m:g} {far_m:g}: expected 0 < NEAR < FAR, meters")
    return RangeLimits(near_m, far_m)


def _counted(frames: Iterator[DecodedFrame], meter: Meter) -> Iterator[DecodedFrame]:
    for frame in frames:
        yield frame
        meter.advance(1)
