"""``cosmos-lidar evaluate``: metrics of a lidar tokenizer over many clips, as table and JSON."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_lidar.arguments import out_file, whole
from cosmos_lidar.commands._arguments import (
    add_data_arguments,
    add_flag,
    add_image_arguments,
    add_tokenizer_arguments,
)
from cosmos_lidar.commands._feature_arguments import add_feature_arguments, features_of, print_feature_problems
from cosmos_lidar.metrics import metric_names

if TYPE_CHECKING:
    from cosmos_lidar.clips import Clip
    from cosmos_lidar.families.lidar_tokenizer.autoencode import AutoencodeOptions
    from cosmos_lidar.families.lidar_tokenizer.evaluate import Evaluation
    from cosmos_lidar.families.lidar_tokenizer.open import OpenTokenizer
    from cosmos_lidar.families.lidar_tokenizer.score import ClipScore

_HEADINGS = {
    "rmse_m": "RMSE m",
    "mae_m": "MAE m",
    "relative": "relative",
    "chamfer_mean_m": "Chamfer m",
    "drop_precision": "drop precision",
    "drop_recall": "drop recall",
    "psnr_db": "PSNR dB",
}  # the first columns of the table; those of further metrics follow under their own names
_SHORT = {"frechet_backbone_distance": "Frechet, backbone"}
GROUP = "tokenizers"
HELP = "evaluate a lidar tokenizer: range errors, ray drop, Chamfer; per clip and pooled"
EXAMPLE = "cosmos-lidar evaluate --checkpoint checkpoints/lidar --data drives --max_clips 10 --output results.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_flag(parser, "data", "--sample_path", "--sample-path", required=True, metavar="PATH", help="recordings")
    add_tokenizer_arguments(parser)
    add_flag(
        parser,
        "baseline",
        choices=("identity", "resize", "mean"),
        help="instead of a tokenizer: the range image itself (identity), 8 x 8 averages upsampled (resize), or "
        "the mean of all range images (mean)",
    )
    add_data_arguments(parser, max_frames=-1)
    add_flag(parser, "max_clips", type=whole(1, or_all=True), default=-1, help="first clips, -1 for all (default)")
    add_image_arguments(parser)
    add_flag(parser, "chamfer", type=int, choices=(0, 1), default=1, help="0 leaves out the point clouds (faster)")
    add_feature_arguments(parser)
    add_flag(
        parser,
        "output",
        type=out_file,
        default="dump_results/evaluation.json",
        metavar="FILE",
        help=f"JSON file, default %(default)s; metrics: {', '.join(metric_names('evaluate'))}",
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate, print the tables, write the JSON file; returns 1 if a clip was skipped."""
    import torch

    from cosmos_lidar.commands._tokenizer_setup import choose_clips, choose_options
    from cosmos_lidar.families.lidar_tokenizer.autoencode import count_frames, decodes_validity
    from cosmos_lidar.families.lidar_tokenizer.evaluate import evaluate_clips, require_one_sensor
    from cosmos_lidar.families.lidar_tokenizer.score import describe_protocol
    from cosmos_lidar.files import write_json
    from cosmos_lidar.progress import Meter

    clips = choose_clips(args.data, args)
    clips = clips if args.max_clips < 0 else clips[: args.max_clips]
    require_one_sensor(clips)
    options = choose_options(args, clips[0].sensor)
    tokenizer = _tokenizer(args, clips, options)
    options = choose_options(args, clips[0].sensor, tokenizer.network)
    features = features_of(args, tokenizer.device)
    with Meter("evaluate", "frames", sum(count_frames(clip, args.max_frames) for clip in clips)) as meter:
        evaluation = evaluate_clips(
            tokenizer.network,
            clips,
            options,
            max_frames=args.max_frames,
            device=tokenizer.device,
            dtype=tokenizer.dtype,
            chamfer=bool(args.chamfer),
            features=features,
            on_frame=meter.advance,
        )
    protocol = describe_protocol(
        clips[0].sensor,
        options,
        args.tokenizer_dtype,
        args.max_frames,
        features,
        decodes_validity(tokenizer.network),
    )
    document = {
        "data": str(args.data),
        "tokenizer": tokenizer.description,
        "device": str(tokenizer.device),
        "torch": torch.__version__,
        **evaluation.to_dict(),
        "protocol": protocol,
    }
    write_json(Path(args.output), document)
    _print_tables(evaluation, protocol["hash"])
    print_feature_problems(features, evaluation.pooled.frames)
    sys.stdout.write(f"written to {args.output}\n")
    if evaluation.skipped:
        count = f"{len(evaluation.clips)} of {len(clips)} clips; {len(evaluation.skipped)} skipped"
        sys.stdout.write(f"{count}: {', '.join(evaluation.skipped)}\n")
    return 1 if evaluation.skipped else 0


def _tokenizer(args: argparse.Namespace, clips: list[Clip], options: AutoencodeOptions) -> OpenTokenizer:
    import torch

    from cosmos_lidar.commands._tokenizer_setup import tokenizer_of
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.families.lidar_tokenizer.evaluate import build_baseline
    from cosmos_lidar.families.lidar_tokenizer.open import OpenTokenizer
    from cosmos_lidar.parallel.devices import choose_device

    if not args.baseline:
        return tokenizer_of(args)
    if args.checkpoint or args.enc_path or args.dec_path:
        raise UserError("--baseline takes the place of a tokenizer: leave out --checkpoint, --enc_path and --dec_path")
    device, dtype = choose_device(args.device), getattr(torch, args.tokenizer_dtype)
    network = build_baseline(args.baseline, clips, options, args.max_frames).to(device=device, dtype=dtype)
    return OpenTokenizer(network, device, dtype, {"baseline": args.baseline})


def _print_tables(evaluation: Evaluation, protocol_hash: str) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 150)
    table = Table(title=f"protocol {protocol_hash}")
    names = [*_HEADINGS, *(name for name in evaluation.pooled.columns() if name not in _HEADINGS)]
    for heading in ("clip", "frames", *((_HEADINGS | _SHORT).get(name, name) for name in names)):
        table.add_column(heading, justify="left" if heading == "clip" else "right", overflow="fold")
    for clip_id, score in evaluation.clips.items():
        table.add_row(clip_id, *_cells(score, names))
    table.add_section()
    table.add_row("all pixels pooled", *_cells(evaluation.pooled, names))
    if evaluation.intervals:
        ends = [f"{value.low:.4f} .. {value.high:.4f}" for value in evaluation.intervals.values()]
        table.add_row("95 % interval over clips", "", *ends)
    console.print(table)
    bands = Table(title="by measured range, pooled")
    for name in ("from m", "to m", "pixels", "RMSE m", "MAE m", "relative"):
        bands.add_column(name, justify="right")
    for band in evaluation.pooled.errors.result().bands:
        errors = band.errors
        numbers = [_number(value) for value in (errors.rmse_m, errors.mae_m, errors.relative)]
        bands.add_row(f"{band.near_m:g}", f"{band.far_m:g}", f"{errors.pixels:,}", *numbers)
    console.print(bands)


def _cells(score: ClipScore, names: list[str]) -> list[str]:
    """Return the number of frames and the columns; a dash where there is no value."""
    values = score.columns()
    return [str(score.frames), *(_number(values.get(name), 2 if name == "psnr_db" else 4) for name in names)]


def _number(value: float | None, digits: int = 4) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"
