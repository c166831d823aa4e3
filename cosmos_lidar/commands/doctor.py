"""``cosmos-lidar doctor``: check the environment and predict memory and step time of a recipe before its launch."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from cosmos_lidar.arguments import decimal, whole
from cosmos_lidar.errors import UserError

if TYPE_CHECKING:
    from cosmos_lidar.training.preflight.launch_time import Target

GROUP = "training"
HELP = "check versions, devices, data and checkpoint; predict memory, FLOPs and step time of a recipe"
EXAMPLE = "cosmos-lidar doctor dit recipe=faditv2_7b parallel.data_shard=8 --processes 8 --memory-gb 141"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "recipe", metavar="RECIPE", nargs="?", help="recipe, as for `train`; without: check the machine alone"
    )
    parser.add_argument("options", metavar="key=value", nargs="*", help="options of the recipe: recipe=NAME, key=value")
    parser.add_argument("--processes", type=whole(1), default=0, help="ranks of the run (default: as its mesh needs)")
    parser.add_argument(
        "--memory-gb", type=decimal(above=0), default=0.0, help="memory of one device in GB (default: this machine's)"
    )
    parser.add_argument(
        "--machine", default="", metavar="NAME", help="predict the time of a step on h100-sxm, h100-nvl, h200 or b200"
    )
    parser.add_argument(
        "--nodes", type=whole(1), default=0, help="number of these machines, of 8 GPUs each (default 1)"
    )
    parser.add_argument(
        "--load-s",
        type=decimal(0),
        default=0.0,
        help="seconds one worker takes to load a sample (default: uncounted)",
    )
    parser.add_argument("--no-data", action="store_true", help="do not check data.path, which is on another machine")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def needs(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the optional packages that the command needs."""
    from cosmos_lidar.extras import TRAINING

    return TRAINING if args.recipe else ()


def _target(args: argparse.Namespace) -> Target | None:
    """Return the machines that are named; they need a recipe."""
    if not (args.machine or args.nodes or args.load_s):
        return None
    from cosmos_lidar.training.preflight.launch_time import target

    found = target(args.machine, args.nodes, args.processes, args.load_s)
    if not args.recipe:
        raise UserError(f"--machine {args.machine}: name the recipe whose time is wanted, such as multiview")
    return found


def run(args: argparse.Namespace) -> int:
    """Print the findings; returns 0 if the run can start, else 1.

    Raises:
        UserError: unknown recipe, option or machine.
    """
    from cosmos_lidar.recipes.registry import find_family
    from cosmos_lidar.training.preflight.doctor import examine

    where = _target(args)
    family = find_family(args.recipe) if args.recipe else None
    report = examine(family, args.options, args.processes, args.memory_gb, not args.no_data, where)
    if args.json:
        sys.stdout.write(json.dumps(report.document(), indent=1) + "\n")
    else:
        sys.stdout.write(report.text() + "\n")
    return 0 if report.ok else 1
