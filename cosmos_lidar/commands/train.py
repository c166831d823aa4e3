"""``cosmos-lidar train``: train a recipe on one rank, without ``torchrun``."""

from __future__ import annotations

import argparse

GROUP = "training"
HELP = "train a recipe on one rank (several ranks: torchrun recipes/RECIPE.py)"
EXAMPLE = "cosmos-lidar train lidar_tokenizer recipe=debug trainer.max_steps=20"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("recipe", metavar="RECIPE", help="a file of recipes/, such as dit, or a path to one")
    parser.add_argument(
        "options",
        nargs=argparse.REMAINDER,
        metavar="key=value",
        help="options of the recipe: recipe=NAME, key=value, --config FILE, --dryrun, --help",
    )


def needs(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the optional packages that the command needs."""
    from cosmos_lidar.extras import TRAINING

    return TRAINING


def run(args: argparse.Namespace) -> int:
    """Train; returns the exit status.

    Raises:
        UserError: unknown recipe or option.
    """
    from cosmos_lidar.recipes.registry import find_family

    return find_family(args.recipe).main(args.options)
