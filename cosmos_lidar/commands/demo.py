"""``cosmos-lidar demo``: what each model family does, with the embedded models, on one page."""

from __future__ import annotations

import argparse
from pathlib import Path

from cosmos_lidar.arguments import out_folder, whole
from cosmos_lidar.commands._arguments import add_lidar_argument

GROUP = "training"
HELP = "run every model family on your recordings, in minutes on a CPU, and write report.html"
EXAMPLE = "cosmos-lidar demo --out demo --data ~/kitti --format kitti"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options to ``parser``."""
    parser.add_argument("--out", type=out_folder, default=Path("demo"), help="folder of all results (default demo)")
    parser.add_argument("--data", type=Path, help="your recordings (default: synthetic drives)")
    parser.add_argument("--format", help="their reader, such as kitti, nuscenes or release (default: recognized)")
    add_lidar_argument(parser)
    parser.add_argument(
        "--drives",
        type=int,
        default=4,
        help="synthetic drives for the lidar tokenizer, at least 2 (default %(default)s)",
    )
    parser.add_argument("--steps", type=whole(1), help="most steps of each training (default: the recipes')")


def needs(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the optional packages that the command needs."""
    from cosmos_lidar.extras import TRAINING

    return TRAINING


def run(args: argparse.Namespace) -> int:
    """Run the demo; 130 if training was interrupted; the next call resumes it."""
    from cosmos_lidar.demo.run import DemoOptions, run_demo
    from cosmos_lidar.errors import UserError

    if args.drives < 2:
        raise UserError(f"--drives {args.drives}: at least 2 are needed, one to train on and one to hold out")
    if args.format and args.data is None:
        raise UserError(f"--format {args.format}: --data is missing")
    if args.lidar and args.data is None:
        raise UserError(f"--lidar {args.lidar} without --data: which recordings?")
    signal = run_demo(DemoOptions(args.out, args.data, args.format, args.drives, args.steps, args.lidar))
    return 128 + signal if signal else 0
