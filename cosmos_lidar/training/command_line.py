"""The command line of every recipe file: ``recipe=NAME``, ``key=value``, ``--config``, ``--dryrun``, ``--yes``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cosmos_lidar.errors import UserError
from cosmos_lidar.training.overrides import apply_overrides, describe, load_config, to_yaml

if TYPE_CHECKING:
    from cosmos_lidar.training.engine import RunResult

T = TypeVar("T")


def choose(
    argv: list[str], recipes: Mapping[str, Callable[[], T]], aliases: Mapping[str, str] | None = None
) -> tuple[T, argparse.Namespace]:
    """Return the configuration that a command line asks for, and its flags.

    The order is: the variant of ``recipe=NAME`` (the first one of ``recipes`` when none is named) or the file of
    ``--config``, then each ``key=value``. ``aliases`` are other spellings of keys.

    Raises:
        UserError: an unknown variant or option, or a value of the wrong type.
    """
    args = _parser(recipes).parse_args(argv)
    chosen = [text.partition("=")[2] for text in args.overrides if text.startswith("recipe=")]
    overrides = [_own_key(text, aliases or {}) for text in args.overrides if not text.startswith("recipe=")]
    name = chosen[-1] if chosen else next(iter(recipes))
    if name not in recipes:
        raise UserError(f"recipe={name}: choose {' or '.join(recipes)}")
    run = recipes[name]()
    if args.config is not None:
        if chosen:
            raise UserError(f"recipe={name} and --config {args.config} exclude each other: the file is complete")
        run = load_config(type(run), args.config)
    return apply_overrides(run, overrides), args


def _own_key(text: str, aliases: Mapping[str, str]) -> str:
    key, separator, value = text.partition("=")
    return aliases.get(key, key) + separator + value


def recipe_main(
    recipes: Mapping[str, Callable[[], T]],
    train: Callable[[T], RunResult | int],
    argv: list[str] | None = None,
    aliases: Mapping[str, str] | None = None,
) -> int:
    """Run a recipe file as a program; returns its exit status.

    0 done; 2 wrong option or unusable input; 130 stopped by Ctrl-C, 143 by SIGTERM and 138 by
    SIGUSR1, each after saving a checkpoint.

    Args:
        recipes: variants by name, the default one first.
        train: trains on this rank and returns what the run left, or the number of the signal that ended it, else 0.
        argv: the command line, without the program.
        aliases: other spellings of keys, as published recipes have them, and ours.
    """
    from cosmos_lidar.log import configure

    configure()
    try:
        run, args = choose(sys.argv[1:] if argv is None else argv, recipes, aliases)
        if args.dryrun:
            sys.stdout.write(to_yaml(run) if int(os.environ.get("RANK", 0)) == 0 else "")
            return 0
        result = train(run)
    except UserError as error:
        sys.stderr.write(f"{Path(sys.argv[0]).name}: {error}\n")
        return 2
    return result.exit_status if hasattr(result, "exit_status") else 128 + result if result else 0


def _parser(recipes: Mapping[str, Callable[[], T]]) -> argparse.ArgumentParser:
    lines = [f"  recipe=NAME   {' | '.join(recipes)} (default {next(iter(recipes))})", ""]
    for key, value, text in describe(next(iter(recipes.values()))()):
        lines.append(f"  {key}={value}\n      {text}")
    parser = argparse.ArgumentParser(
        description="Train. Options are written key=value; the values shown are the defaults of the first variant.",
        epilog="options:\n" + "\n".join(lines).replace("%", "%%"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="options, see below")
    parser.add_argument("--config", type=Path, help="start from the config.yaml of a run instead of a variant")
    parser.add_argument("--dryrun", action="store_true", help="print the resolved configuration and stop")
    parser.add_argument("--yes", "--no-confirm", action="store_true", help="accepted for scripts; nothing is asked")
    return parser
