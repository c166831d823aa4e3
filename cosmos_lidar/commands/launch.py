"""``cosmos-lidar launch``: start a recipe on a cluster with NeMo-Run, or print batch script and cluster files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cosmos_lidar.arguments import whole

GROUP = "training"
HELP = "start a recipe with NeMo-Run (local, docker, SLURM), or print a batch script, cluster file or manifest"
EXAMPLE = "cosmos-lidar launch --print slurm > train.sbatch"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--print", dest="printed", metavar="NAME", help="print slurm, kubernetes or a cluster file")
    parser.add_argument("--cluster", type=Path, metavar="FILE", help="YAML file of the cluster (try --print example)")
    parser.add_argument("--nodes", type=whole(1), metavar="N", help="machines, instead of the file's")
    parser.add_argument("--gpus", type=whole(1), metavar="N", help="GPUs (ranks) per machine, instead of the file's")
    parser.add_argument("--name", help="name of the experiment (default: that of the recipe)")
    parser.add_argument("--dryrun", action="store_true", help="print the plan, such as the batch script, and exit")
    parser.add_argument("recipe", metavar="RECIPE", nargs="?", help="a recipe, as for `train`")
    parser.add_argument("options", nargs=argparse.REMAINDER, metavar="key=value", help="options of the recipe")


def needs(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the optional packages that the command needs."""
    return () if args.printed else ("nemo_run",)


def run(args: argparse.Namespace) -> int:
    """Print a launch file, or start a recipe; returns 0, or 1 if the recipe failed.

    Raises:
        UserError: unknown names, or a cluster file that cannot be used.
    """
    from cosmos_lidar.errors import UserError

    if args.printed:
        from cosmos_lidar.launch.printed import text_of

        sys.stdout.write(text_of(args.printed))
        return 0
    if not args.cluster or not args.recipe:
        raise UserError("expected --cluster FILE RECIPE [key=value …], or --print NAME")
    from cosmos_lidar.launch.cluster import load_cluster
    from cosmos_lidar.launch.nemo_run import find_recipe, start

    cluster = load_cluster(args.cluster, args.nodes, args.gpus)
    recipe = find_recipe(args.recipe)
    return start(cluster, [recipe, *args.options], args.name or Path(recipe).stem, args.dryrun)
