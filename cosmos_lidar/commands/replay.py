"""``cosmos-lidar replay``: repeat one step of a training run, bit for bit."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cosmos_lidar.arguments import out_folder, whole

GROUP = "training"
HELP = "repeat a training step from the checkpoint before it, and compare it with the log"
EXAMPLE = "cosmos-lidar replay checkpoints/posttraining/tokenizer/debug --step 17"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("folder", metavar="RUN", type=Path, help="run folder, with config.yaml and checkpoints/")
    parser.add_argument("--step", metavar="K", type=whole(1), required=True, help="step to repeat, counted from 1")
    parser.add_argument(
        "--out", metavar="DIR", type=out_folder, help="folder for the batch of the step (default RUN/dumps)"
    )


def needs(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the optional packages that the command needs."""
    from cosmos_lidar.extras import TRAINING

    return TRAINING


def run(args: argparse.Namespace) -> int:
    """Repeat the step; returns 0 if it equals the log, 1 if it differs or is not finite.

    Raises:
        DataError: no run folder.
        UserError: a step that the run has not reached, or another world size.
    """
    from cosmos_lidar.recipes.registry import load_run
    from cosmos_lidar.training.preflight.replay import replay

    family, trained = load_run(args.folder)
    result = replay(family, trained, args.folder, args.step, args.out or args.folder / "dumps")
    if result.lines:
        sys.stdout.write("\n".join(result.lines) + "\n")
    return 0 if result.same else 1
