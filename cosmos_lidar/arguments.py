"""Command-line parser with errors of one line; types of numbers and of places to write to, checked before a run."""

from __future__ import annotations

import argparse
import difflib
import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """Argument parser whose errors are one line, and name the option that is nearest to an unknown one.

    Args:
        advice: what to do about an option that is like none of its own.
        options: as of :class:`argparse.ArgumentParser`.
    """

    def __init__(self, *names: Any, advice: str = "", **options: Any) -> None:
        super().__init__(*names, **options)
        self.advice = advice

    def error(self, message: str) -> NoReturn:
        """Print the message on stderr, and exit with status 2."""
        self.exit(2, f"{self.prog}: {message} (--help lists all options)\n")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return the values of a command line; unknown options end the program with :meth:`error`."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            chosen = self._chosen(parsed)
            chosen.error(_of_unknown(unknown, chosen._option_string_actions, chosen.advice))
        return parsed

    def _chosen(self, parsed: argparse.Namespace) -> Parser:
        """Return the parser of the sub-command, or of its own one, that a command line names."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction) and getattr(parsed, action.dest, None) in action.choices:
                return action.choices[getattr(parsed, action.dest)]._chosen(parsed)
        return self


def _of_unknown(unknown: Sequence[str], known: Iterable[str], advice: str) -> str:
    """Return the message about words that no option takes."""
    options = [word.partition("=")[0] for word in unknown if word.startswith("-")]
    if not options:
        return f"unexpected {' '.join(unknown)!r}"
    near = difflib.get_close_matches(options[0], known, n=1, cutoff=0.7)
    hint = f"did you mean {near[0]}?" if near else advice
    return f"unknown option {options[0]}" + (f"; {hint}" if hint else "")


def whole(least: int, or_all: bool = False) -> Callable[[str], int]:
    """Return the type of an option that is a whole number.

    Args:
        least: the smallest valid number.
        or_all: -1 is valid, too, and means all there are.
    """
    wanted = f"a whole number, {least} or more" + (", or -1 for all" if or_all else "")

    def convert(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r}: expected {wanted}") from None
        if number < least and not (or_all and number == -1):
            raise argparse.ArgumentTypeError(f"{number}: expected {wanted}")
        return number

    return convert


def decimal(least: float = -math.inf, above: float | None = None, most: float = math.inf) -> Callable[[str], float]:
    """Return the type of an option that is a finite number.

    Args:
        least: the smallest valid number.
        above: number that valid ones exceed.
        most: the largest valid number.
    """
    limits = [f"{least:g} or more"] * (least > -math.inf) + [f"{most:g} or less"] * (most < math.inf)
    if above is not None:
        limits.insert(0, f"above {above:g}")
    wanted = "a number" + (f", {', '.join(limits)}" if limits else "")

    def convert(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r}: expected {wanted}") from None
        valid = math.isfinite(number) and least <= number <= most and (above is None or number > above)
        if not valid:
            raise argparse.ArgumentTypeError(f"{text}: expected {wanted}")
        return number

    return convert


def out_file(text: str) -> Path:
    """Return the path of an option for a file to write; a folder, and a place that takes no files, are refused."""
    return _writable(text, "a file to write", lambda path: "is a folder" if path.is_dir() else None)


def out_folder(text: str) -> Path:
    """Return the path of an option for a folder to write to; a file, and a place that takes no files, are refused."""
    return _writable(text, "a folder to write to", lambda path: "is a file" if path.is_file() else None)


def _writable(text: str, wanted: str, problem_of: Callable[[Path], str | None]) -> Path:
    """Return a path whose nearest existing folder takes files.

    Raises:
        ArgumentTypeError: another one, or one with a problem of its own.
    """
    path = Path(text)
    try:
        problem = problem_of(path)
        there = path if path.is_dir() else next(above for above in path.absolute().parents if above.exists())
        if problem is None and not there.is_dir():
            problem = f"{there} is a file"
        if problem is None and not os.access(there, os.W_OK | os.X_OK):
            problem = f"{there} cannot be written to"
    except OSError as error:
        problem = str(error.strerror)
    if problem is not None:
        raise argparse.ArgumentTypeError(f"{text}: {problem}: expected {wanted}")
    return path
