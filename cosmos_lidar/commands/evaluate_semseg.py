"""``cosmos-lidar evaluate-semseg``: IoU of a segmentation network over labeled sweeps, as table, JSON and report."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_lidar.arguments import out_folder, whole
from cosmos_lidar.commands._arguments import add_lidar_argument, configuration_of, weights_file
from cosmos_lidar.weights import name_of

if TYPE_CHECKING:
    from cosmos_lidar.clips.label_maps import LabelMap
    from cosmos_lidar.families.also.semseg.config import SemsegTrainConfig
    from cosmos_lidar.families.also.semseg.network import SegmentationNetwork
    from cosmos_lidar.families.also.semseg.score import ReadSweep, ScoredSweep, SemsegScore

GROUP = "checkpoints"
HELP = "evaluate semantic segmentation: IoU per class over all points, confusion matrix, report with errors"
EXAMPLE = "cosmos-lidar evaluate-semseg --checkpoint iter_000000030_semseg.safetensors --data points_shards --split val"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--checkpoint", type=weights_file("small-semseg"), required=True, metavar="FILE",
        help="iter_N_semseg.safetensors of a run of also_semseg, or trained_model_*.ckpt of the published code",
    )  # fmt: skip
    parser.add_argument(
        "--data", type=Path, required=True, metavar="PATH",
        help="shards of `prepare --task points`, or recordings with labels",
    )  # fmt: skip
    parser.add_argument("--split", default="val", help="of the shards (default val)")
    parser.add_argument("--format", help="reader of the recordings (default: recognized from the files)")
    add_lidar_argument(parser)
    parser.add_argument(
        "--recipe", metavar="NAME",
        help="variant of also_semseg with voxels, inputs and classes; default: config.yaml beside the checkpoint",
    )  # fmt: skip
    parser.add_argument("--label-map", metavar="NAME_OR_FILE", help="classes, instead of those of the configuration")
    parser.add_argument(
        "--max-sweeps", type=whole(1, or_all=True), default=-1, metavar="N", help="first sweeps, -1 for all (default)"
    )
    parser.add_argument("--shown", type=whole(0), default=3, metavar="N", help="sweeps in the report (default 3)")
    parser.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:1; auto (default) takes a GPU if there is one"
    )
    parser.add_argument(
        "--out", type=out_folder, default=Path("dump_results/semseg"), metavar="DIR",
        help="folder for semseg.json, confusion.png and report.html (default %(default)s)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Evaluate, print the table, write the files; returns 1 if a sweep was skipped."""
    from cosmos_lidar.clips.label_maps import load_label_map
    from cosmos_lidar.errors import DataError
    from cosmos_lidar.families.also.semseg.score import score_sweeps
    from cosmos_lidar.progress import Meter

    config = _configuration(args)
    label_map = load_label_map(args.label_map or config.model.label_map)
    network = _network(args, config, label_map)
    sweeps = _sweeps(args)
    sweeps = sweeps if args.max_sweeps < 0 else sweeps[: args.max_sweeps]
    chosen = {name for name, _ in sweeps[:: max(len(sweeps) // max(args.shown, 1), 1)][: args.shown]}
    shown: list[ScoredSweep] = []
    with Meter("evaluate", "sweeps", len(sweeps)) as meter:

        def on_sweep(sweep: ScoredSweep | None) -> None:
            meter.advance(1)
            if sweep is not None and sweep.name in chosen:
                shown.append(sweep)

        score = score_sweeps(network, sweeps, config, label_map, on_sweep)
    if not score.every.counted.any():
        problem = (
            f"no labeled point in {len(sweeps)} sweeps: {len(score.skipped)} skipped, {score.without_labels} unlabeled"
        )
        raise DataError(problem, file=args.data, key="labels", wanted=f"sweeps with labels of {label_map.name}")
    _write(args, config, label_map, score, shown)
    _print_table(score)
    sys.stdout.write(f"written to {args.out}\n")
    return 1 if score.skipped else 0


def _configuration(args: argparse.Namespace) -> SemsegTrainConfig:
    """Return the configuration beside a checkpoint, or that of a recipe.

    Raises:
        DataError: there is no such checkpoint.
        UserError: neither, or no such recipe.
    """
    from cosmos_lidar.families.also.semseg.config import PUBLISHED_KEYS, SemsegTrainConfig

    return configuration_of(args.checkpoint, args.recipe, "--recipe", "also_semseg", SemsegTrainConfig, PUBLISHED_KEYS)


def _network(args: argparse.Namespace, config: SemsegTrainConfig, label_map: LabelMap) -> SegmentationNetwork:
    """Return the network of a checkpoint, on the device, in eval mode.

    Raises:
        DataError: another backbone, other inputs, no classifier, or one of other classes.
    """
    from cosmos_lidar.errors import DataError
    from cosmos_lidar.families.also.semseg.network import SegmentationNetwork
    from cosmos_lidar.models.sparse import load_backbone
    from cosmos_lidar.parallel.devices import choose_device

    backbone = load_backbone(args.checkpoint, config.model.name, config.model.channels)
    if not any(name.startswith("classifier.") for name in backbone.state_dict()):
        wanted = "a network that recipes/also_semseg.py has trained"
        raise DataError("weights without a last layer", file=args.checkpoint, key="classifier", wanted=wanted)
    classes = len(label_map.classes)
    if backbone.out_channels != classes:
        wanted = f"{classes} classes of the label map {label_map.name}"
        raise DataError(f"{backbone.out_channels} outputs", file=args.checkpoint, key="classifier", wanted=wanted)
    return SegmentationNetwork(backbone).to(choose_device(args.device)).eval()


def _sweeps(args: argparse.Namespace) -> list[tuple[str, ReadSweep]]:
    from cosmos_lidar.clips import open_clips
    from cosmos_lidar.families.also.semseg.score import sweeps_of_clips, sweeps_of_shards
    from cosmos_lidar.shards.manifest import ENERGON

    if (args.data / ENERGON).is_dir():
        return list(sweeps_of_shards(args.data, args.split))
    return list(sweeps_of_clips(open_clips(args.data, format=args.format, lidar=args.lidar, columns=args.columns)))


def _write(
    args: argparse.Namespace,
    config: SemsegTrainConfig,
    label_map: LabelMap,
    score: SemsegScore,
    shown: list[ScoredSweep],
) -> None:
    from cosmos_lidar.families.also.semseg.report import write_semseg_report
    from cosmos_lidar.families.also.semseg.score import protocol_of
    from cosmos_lidar.files import write_json
    from cosmos_lidar.viz.confusion import confusion_image
    from cosmos_lidar.viz.images import write_png

    protocol = protocol_of(config, label_map)
    names = {"checkpoint": str(args.checkpoint), "data": str(args.data), "label_map": label_map.name}
    document = {**names, **score.to_dict(), "protocol": {**protocol.to_dict(), "hash": protocol.hash}}
    write_json(args.out / "semseg.json", document)
    write_png(args.out / "confusion.png", confusion_image(score.every.counted, score.classes))
    write_semseg_report(args.out / "report.html", score, shown, f"{name_of(args.checkpoint)} on {args.data}")


def _print_table(score: SemsegScore) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{score.sweeps} sweeps")
    for heading in ("class", "IoU %", "IoU % decimated", "points"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    iou, decimated, points = score.every.iou(), score.decimated.iou(), score.every.counted.sum(1)
    for number, name in enumerate(score.classes):
        if number:
            table.add_row(name, _percent(iou[number]), _percent(decimated[number]), f"{points[number]:,}")
    table.add_section()
    means = (score.every.mean_iou(), score.decimated.mean_iou())
    table.add_row("mean", *map(_percent, means), f"{points.sum():,}")
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 100).print(table)


def _percent(value: float) -> str:
    return f"{100 * value:.1f}" if value == value else "–"
