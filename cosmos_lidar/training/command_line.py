"""Command line of every recipe: ``recipe=NAME``, ``key=value``, ``--config``, ``--dryrun``, ``--yes``."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cosmos_lidar.arguments import Parser
from cosmos_lidar.errors import RESTART_STATUS, RanksMissingError, UserError, advice_of
from cosmos_lidar.log import logger
from cosmos_lidar.training.option_names import PREFIXES, REFUSED, names_of, translate
from cosmos_lidar.training.overrides import apply_overrides, choices, describe, load_config, option_types, to_yaml

if TYPE_CHECKING:
    from cosmos_lidar.training.engine import RunResult

T = TypeVar("T")
_LESS_MEMORY = (
    "`cosmos-lidar doctor RECIPE` with the same options predicts what a rank needs and what each option saves: "
    "data.batch_size (trainer.global_batch_size keeps the sum), parallel.recompute, parallel.data_shard"
)


def choose(
    argv: list[str], recipes: Mapping[str, Callable[[], T]], aliases: Mapping[str, str] | None = None
) -> tuple[T, argparse.Namespace]:
    """Return the configuration of a command line, and its flags; ``given`` among them, the options named.

    The order is: the variant of ``recipe=NAME`` (the first one of ``recipes`` when none is named) or the file of
    ``--config``, then each ``key=value``. ``aliases`` are further names of keys, beside those of
    :mod:`cosmos_lidar.training.option_names`.

    Raises:
        UserError: an unknown variant or option, or a value of the wrong type.
    """
    args = _parser(recipes, aliases or {}).parse_args(argv)
    texts = [text for given in args.overrides if (text := translate(given, aliases or {})) is not None]
    chosen = [text.partition("=")[2] for text in texts if text.startswith("recipe=")]
    overrides = [text for text in texts if not text.startswith("recipe=")]
    name = chosen[-1] if chosen else next(iter(recipes))
    if name not in recipes:
        near = difflib.get_close_matches(name, recipes, n=1)
        raise UserError(f"recipe={name}: valid: {', '.join(recipes)}" + (f" (did you mean {near[0]}?)" if near else ""))
    run = recipes[name]()
    if args.config is not None:
        if chosen:
            raise UserError(f"recipe={name} and --config {args.config} exclude each other: the file is complete")
        run = load_config(type(run), args.config, aliases)
    args.given = {text.partition("=")[0].strip() for text in overrides}
    if {"trainer.accumulate", "trainer.global_batch_size"} <= args.given:
        raise UserError("trainer.accumulate and trainer.global_batch_size: give one, the other follows from it")
    return apply_overrides(run, overrides), args


def run_program(
    choose: Callable[[list[str]], tuple[T, argparse.Namespace]],
    train: Callable[[T], RunResult | int],
    argv: list[str] | None = None,
) -> int:
    """Run a recipe as a program; returns its exit status.

    0 done; 2 wrong option or unusable input; 75 ranks that hung or did not arrive: start it again; 130 stopped by
    Ctrl-C, 143 by SIGTERM, 129 by SIGHUP and 138 by SIGUSR1, each after saving a checkpoint once training has begun.

    Args:
        choose: returns the configuration of a command line, and its flags.
        train: trains on this rank and returns what the run left, or the number of the signal that ended it, else 0.
        argv: the command line, without the program.
    """
    from cosmos_lidar.log import configure

    configure()
    try:
        run, args = choose(sys.argv[1:] if argv is None else argv)
        if args.dryrun:
            sys.stdout.write(to_yaml(run) if int(os.environ.get("RANK", 0)) == 0 else "")
            return 0
        result = train(run)
    except UserError as error:
        _complain(str(error))
        return 2
    except RanksMissingError as error:
        _complain(str(error))
        return RESTART_STATUS
    except (OSError, MemoryError, RuntimeError) as error:
        advice = advice_of(error, _LESS_MEMORY)
        if advice is None:
            raise
        logger.debug("traceback of: %s", advice, exc_info=True)
        _complain(advice)
        return 2
    except KeyboardInterrupt:  # during training Ctrl-C is a wish to stop
        _complain("stopped by Ctrl-C; checkpoints are kept")
        return 130
    finally:
        _settle_stderr()
    if isinstance(result, int):
        return 128 + result if result else 0
    return result.exit_status


def _complain(text: str) -> None:
    with suppress(OSError):
        sys.stderr.write(f"{Path(sys.argv[0]).name}: {text}\n")


def _settle_stderr() -> None:
    """Drop what standard error does not take, on a full disk or after SIGHUP: Python would end with status 120."""
    try:
        sys.stderr.flush()
    except OSError:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the process ends


def recipe_main(
    recipes: Mapping[str, Callable[[], T]],
    train: Callable[[T], RunResult | int],
    argv: list[str] | None = None,
    aliases: Mapping[str, str] | None = None,
) -> int:
    """Run variants of a configuration as a program, without a :class:`~cosmos_lidar.training.family.Family`.

    Args:
        recipes: variants by name, the default one first.
        train: as for :func:`run_program`.
        argv: the command line, without the program.
        aliases: further names of keys, as published recipes have them -> ours.

    Returns:
        The exit status, as of :func:`run_program`.
    """
    return run_program(lambda words: choose(words, recipes, aliases), train, argv)


def _parser(recipes: Mapping[str, Callable[[], Any]], aliases: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = Parser(
        advice="options of recipes are written key=value, such as recipe=debug",
        description="Train. Options are written key=value; the values shown are the defaults of the first variant.",
        epilog="\n".join(_option_lines(recipes, aliases)).replace("%", "%%"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="options, see below")
    parser.add_argument("--config", type=Path, help="start from the config.yaml of a run instead of a variant")
    parser.add_argument("--dryrun", action="store_true", help="print the resolved configuration and exit")
    parser.add_argument("--yes", "--no-confirm", action="store_true", help="accepted for scripts; nothing is asked")
    return parser


def _option_lines(recipes: Mapping[str, Callable[[], Any]], aliases: Mapping[str, str]) -> Iterator[str]:
    run = next(iter(recipes.values()))()
    known = option_types(type(run))
    further = names_of(known, aliases)
    yield f"options:\n  recipe=NAME   {' | '.join(recipes)} (default {next(iter(recipes))})\n"
    for key, value, text in describe(run):
        valid = " | ".join(str(one).lower() if isinstance(one, bool) else str(one) for one in choices(known[key]))
        others = f" (or {', '.join(further[key])})" if key in further else ""
        yield f"  {key}={value}{f'   {valid}' if valid else ''}\n      {text}{others}"
    prefixes = ", ".join(prefix for prefix in PREFIXES if prefix)
    yield (
        "\nNames without a dot, such as tensor_model_parallel_size, are understood behind "
        f"{prefixes}; +key=value and ++key=value are key=value. Refused: {', '.join(sorted(REFUSED))}."
    )
