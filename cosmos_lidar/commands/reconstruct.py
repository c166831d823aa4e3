"""``cosmos-lidar reconstruct``: encode and decode videos and images, or decode latents."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_lidar.arguments import decimal, whole
from cosmos_lidar.commands._codec_setup import add_codec_arguments

if TYPE_CHECKING:
    import numpy as np

    from cosmos_lidar.clips.footage import Footage
    from cosmos_lidar.families.video_tokenizer.codec import VideoCodec
    from cosmos_lidar.families.video_tokenizer.score import VideoScores
    from cosmos_lidar.metrics.protocol import Measurement
    from cosmos_lidar.metrics.video_features import VideoDistance

GROUP = "tokenizers"
HELP = "encode and decode videos and images, or decode latents; PSNR, SSIM, LPIPS, FVD"
EXAMPLE = "cosmos-lidar reconstruct videos/ --checkpoint checkpoints/Cosmos-1.0-Tokenizer-CV8x8x8 --out back"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_codec_arguments(parser)
    parser.add_argument(
        "--fps",
        "--output_fps",
        dest="fps",
        type=decimal(above=0),
        help="frame rate of the videos (default: that of the input)",
    )
    parser.add_argument("--save-input", "--save_input", dest="save_input", action="store_true", help="write NAME_input")
    parser.add_argument("--no-side-by-side", dest="side", action="store_false", help="do not write NAME_side_by_side")
    parser.add_argument(
        "--lpips", nargs="?", const="", metavar="VGG16", help="LPIPS too; file of VGG16's weights, or torch's cache"
    )
    parser.add_argument(
        "--fvd", metavar="NETWORK",
        help="reconstruction FVD too: file of the TorchScript I3D (i3d_torchscript.pt), or r3d_18 of torchvision",
    )  # fmt: skip
    parser.add_argument(
        "--fvd-frames", type=whole(1), default=16, metavar="N", help="frames of each clip for --fvd (default 16)"
    )
    parser.add_argument("--mode", choices=("torch", "jit"), help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Reconstruct every input; returns 1 if an input was skipped."""
    from cosmos_lidar.commands._codec_setup import input_patterns, open_codec
    from cosmos_lidar.errors import problem_of
    from cosmos_lidar.families.video_tokenizer.files import find_inputs, output_names
    from cosmos_lidar.log import logger
    from cosmos_lidar.progress import Meter

    files = find_inputs(input_patterns(args))
    codec, facts = open_codec(args)
    distance = _distance(args, codec)
    new_scores = _scorer(args, distance)
    rows: list[dict[str, Any]] = []
    with Meter("reconstruct", "files", len(files)) as meter:
        for file, name in zip(files, output_names(files), strict=True):
            try:
                rows.append(_one(file, name, codec, new_scores(), args))
            except Exception as error:  # one odd input ends no work on the others
                problem = problem_of(error)
                logger.warning("skipped: %s: %s", file, problem)
                rows.append({"source": str(file), "problem": problem})
            meter.advance(1)
    return _report(rows, facts, args.out, distance)


def _distance(args: argparse.Namespace, codec: VideoCodec) -> VideoDistance | None:
    from cosmos_lidar.metrics.video_features import VideoDistance, load_video_features

    return VideoDistance(load_video_features(args.fvd, codec.device)) if args.fvd else None


def _scorer(args: argparse.Namespace, distance: VideoDistance | None) -> Callable[[], VideoScores]:
    """Return what makes the scores of the next video."""
    from cosmos_lidar.families.video_tokenizer.score import VideoScores
    from cosmos_lidar.metrics.lpips import load_lpips

    lpips = None if args.lpips is None else load_lpips("vgg", args.lpips)
    return lambda: VideoScores(lpips, distance, args.fvd_frames)


def _one(file: Path, name: str, codec: VideoCodec, scores: VideoScores, args: argparse.Namespace) -> dict[str, Any]:
    from cosmos_lidar.clips.footage import open_footage
    from cosmos_lidar.families.video_tokenizer.files import write_frames
    from cosmos_lidar.families.video_tokenizer.latent_files import SUFFIX, read_encoded

    if file.suffix == SUFFIX:
        encoded, facts = read_encoded(file)
        fps = (args.fps or facts["fps"]) if facts.get("fps") else 0.0
        count = write_frames(
            args.out / _named(name, fps), codec.decode(encoded), fps, _times(args, facts.get("times_s"))
        )
        return {"source": str(file), "frames": count}
    return _round_trip(open_footage(file, args.short_size), name, codec, scores, args)


def _round_trip(
    footage: Footage, name: str, codec: VideoCodec, scores: VideoScores, args: argparse.Namespace
) -> dict[str, Any]:
    """Encode, decode, write and compare, a block at a time."""
    from cosmos_lidar.families.video_tokenizer.figure import beside
    from cosmos_lidar.families.video_tokenizer.files import write_frames

    encoded = codec.encode(footage.blocks())
    fps = (args.fps or footage.fps) if footage.fps else 0.0
    times_s = _times(args, footage.times_s)
    scored = _scored(codec.decode(encoded), footage, scores)
    count = write_frames(args.out / _named(name, fps), scored, fps, times_s)
    if args.save_input:
        write_frames(args.out / _named(f"{name}_input", fps), footage.blocks(), fps, times_s)
    if args.side:
        pairs = _pairs(codec.decode(encoded), footage)
        both = (beside(*pair)[None] for pair in pairs)
        write_frames(args.out / _named(f"{name}_side_by_side", fps), both, fps, times_s)
    facts = {"source": str(footage.path), "frames": count, "height": encoded.height, "width": encoded.width}
    return facts | scores.result()


def _times(args: argparse.Namespace, times_s: Sequence[float] | None) -> Sequence[float] | None:
    """Return when frames are shown; None for equal times by --fps."""
    return None if args.fps else times_s


def _named(name: str, fps: float) -> str:
    return f"{name}.mp4" if fps else f"{name}.png"


def _pairs(made: Iterator[np.ndarray], footage: Footage) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (frame, reconstruction), both (H, W, 3)."""
    frames = (frame for block in footage.blocks() for frame in block)
    yield from zip(frames, (frame for block in made for frame in block), strict=True)


def _scored(made: Iterator[np.ndarray], footage: Footage, scores: VideoScores) -> Iterator[np.ndarray]:
    """Yield the blocks, and append the metrics of each frame to ``scores``."""
    for frame, decoded in _pairs(made, footage):
        scores.add(frame, decoded)
        yield decoded[None]


def _report(rows: list[dict[str, Any]], facts: dict[str, Any], folder: Path, distance: VideoDistance | None) -> int:
    """Write metrics.json, print the table, and return the exit status."""
    from cosmos_lidar.files import write_json
    from cosmos_lidar.metrics import column_names
    from cosmos_lidar.metrics.bootstrap import bootstrap_mean

    scored = [row for row in rows if "psnr" in row]
    means = {}
    for metric in [*column_names("reconstruct", "images"), "lpips"]:
        if not scored or metric not in scored[0]:
            continue
        values = [row[metric] for row in scored]
        means[metric] = {"mean": sum(values) / len(values), "interval_95": bootstrap_mean(values)}
    protocol = {**facts, "metrics": "per frame, 8-bit values, before the mp4 is written; mean of a video, of videos"}
    fvd = _fvd(distance)
    more = {"fvd": fvd.row() | fvd.protocol.to_dict()} if fvd else {}
    write_json(folder / "metrics.json", {"videos": rows, "mean": means, **more, "protocol": protocol})
    sys.stdout.write("".join(_line(row) for row in rows))
    for metric, found in means.items():
        low_high = found["interval_95"]
        shown = f" [{low_high[0]:.4g}, {low_high[1]:.4g}]" if low_high else ""
        sys.stdout.write(f"{metric}: {found['mean']:.4g}{shown} over {len(scored)}\n")
    if fvd:
        sys.stdout.write(f"rfvd: {fvd.value:.4g} over {fvd.n} clips ({fvd.protocol.settings['features']})\n")
    done = sum("problem" not in row for row in rows)
    count = f"{done} of {len(rows)} files; " if done < len(rows) else ""
    sys.stdout.write(f"{count}{facts['tokenizer']}, {facts['dtype']}: results and metrics.json in {folder}\n")
    return 1 if any("problem" in row for row in rows) else 0


def _fvd(distance: VideoDistance | None) -> Measurement | None:
    """Return the distance over all clips; None, with a warning, where there are fewer than two."""
    from cosmos_lidar.errors import DataError
    from cosmos_lidar.log import logger

    try:
        return None if distance is None else distance.result()
    except DataError as error:
        logger.warning("no FVD: %s (--fvd-frames)", error)
        return None


def _line(row: dict[str, Any]) -> str:
    if "problem" in row:
        return f"{row['source']}: skipped: {row['problem']}\n"
    quality = f", PSNR {row['psnr']:.2f} dB, SSIM {row['ssim']:.4f}" if "psnr" in row else ""
    quality += f", LPIPS {row['lpips']:.4f}" if "lpips" in row else ""
    return f"{row['source']}: {row['frames']} frames{quality}\n"
