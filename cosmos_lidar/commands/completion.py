"""``cosmos-lidar completion``: shell completion of commands, options, recipes and files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cosmos_lidar.arguments import out_file, out_folder

GROUP = "other"
HELP = "print the completion script of a shell: commands, options, choices, recipes and file names"
EXAMPLE = "cosmos-lidar completion bash"
_SHELLS = ("bash", "zsh", "fish")
_FILES = ("FILE", "PATH", "SRC", "OUT", "DATA", "SHARDS", "CKPT", "INPUT", "SOURCE", "NAME_OR_FILE")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    where = 'for bash, put eval "$(cosmos-lidar completion bash)" into ~/.bashrc'
    parser.add_argument("shell", choices=_SHELLS, help=where)


def run(args: argparse.Namespace) -> int:
    """Print the script; returns the exit status."""
    import shtab

    from cosmos_lidar.cli import build_parser

    parser = build_parser()
    for action in _all_actions(parser):
        _describe(action)
    sys.stdout.write(shtab.complete(parser, args.shell))
    return 0


def _all_actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += [inner for child in action.choices.values() for inner in _all_actions(child)]
        else:
            found.append(action)
    return found


def _describe(action: argparse.Action) -> None:
    """Tell shtab what an argument takes: a recipe, a folder, or a file."""
    import shtab

    from cosmos_lidar.recipes.registry import family_names

    if action.dest == "recipe":
        action.choices = family_names()
    elif action.metavar == "DIR" or action.type is out_folder:
        action.complete = shtab.DIRECTORY
    elif action.type in (Path, out_file) or action.metavar in _FILES:
        action.complete = shtab.FILE
