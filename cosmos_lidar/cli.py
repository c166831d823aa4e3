"""The ``cosmos-lidar`` command line: one sub-command per file in ``cosmos_lidar/commands``.

A command module has ``GROUP`` (a key of :data:`GROUPS`; without one it is listed last), ``HELP`` (one line),
``EXAMPLE`` (a command line), ``add_arguments(parser)`` and ``run(args)``; one that needs more than the base install has
``needs(args)``, which returns modules of :data:`cosmos_lidar.extras.EXTRAS`. It imports heavy packages only inside
``run``: ``cosmos-lidar --help`` must take less than half a second.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import pkgutil
import sys
from types import ModuleType

from cosmos_lidar import __version__, commands
from cosmos_lidar.arguments import Parser
from cosmos_lidar.bounds import set_largest_item
from cosmos_lidar.errors import UserError, advice_of
from cosmos_lidar.extras import require_installed

GROUPS = {
    "data": "data (inspect recordings, make and check shards)",
    "tokenizers": "tokenizers (encode, decode, measure)",
    "generation": "generation (encode conditions, sample)",
    "training": "training (train a recipe, predict its memory, replay a step)",
    "checkpoints": "checkpoints (convert and export weights)",
    "other": "other",
}


class CommandParser(Parser):
    """Argument parser whose help lists sub-commands by group, and whose errors name the nearest sub-command."""

    groups: dict[str, list[str]]

    def format_help(self) -> str:
        """Return usage, description, the sub-commands of each group, options and epilog."""
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        listed = {action.dest: action for action in self._subparsers._group_actions[0]._choices_actions}
        for group, names in self.groups.items():
            formatter.start_section(GROUPS[group])
            formatter.add_arguments([listed[name] for name in names])
            formatter.end_section()
        formatter.start_section("options")
        formatter.add_arguments(self._optionals._group_actions)
        formatter.end_section()
        formatter.add_text(self.epilog)
        return formatter.format_help()

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.dest == "command" and value not in action.choices:
            near = difflib.get_close_matches(str(value), action.choices, 1)
            hint = f"did you mean {near[0]}?" if near else f"valid: {', '.join(action.choices)}"
            raise argparse.ArgumentError(None, f"unknown command {value!r}; {hint}")
        super()._check_value(action, value)


def find_commands() -> dict[str, ModuleType]:
    """Return the command modules by name; ``latents_stats.py`` is the command ``latents-stats``."""
    names = sorted(info.name for info in pkgutil.iter_modules(commands.__path__) if not info.name.startswith("_"))
    return {name.replace("_", "-"): importlib.import_module(f"cosmos_lidar.commands.{name}") for name in names}


def group_commands(modules: dict[str, ModuleType]) -> dict[str, list[str]]:
    """Return the names of commands by group, in the order of :data:`GROUPS`; unknown groups count as ``other``."""
    groups: dict[str, list[str]] = {group: [] for group in GROUPS}
    for name, module in modules.items():
        group = getattr(module, "GROUP", "other")
        groups[group if group in groups else "other"].append(name)
    return {group: names for group, names in groups.items() if names}


def build_parser() -> CommandParser:
    """Return the argument parser with every sub-command in it."""
    parser = CommandParser(
        prog="cosmos-lidar",
        description="Train, evaluate and run sensor world models for driving.",
        epilog="`cosmos-lidar COMMAND --help` shows the options of a command, with an example.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    size = "memory that one array, image or member of a file may take, such as 8GB (default: 1.1GB)"
    parser.add_argument("--largest-item", metavar="SIZE", help=size)
    parser.add_argument("--debug", action="store_true", help="show tracebacks and debug log lines")
    sub = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    modules = find_commands()
    parser.groups = group_commands(modules)
    for name, module in modules.items():
        child = sub.add_parser(
            name,
            help=module.HELP,
            description=module.HELP,
            epilog=f"example:\n  {module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(child)
        child.set_defaults(run=module.run, needs=getattr(module, "needs", _nothing))
    return parser


def _nothing(args: argparse.Namespace) -> tuple[str, ...]:
    return ()


def main(argv: list[str] | None = None) -> int:
    """Run the command line; exit status: 0 done, 1 the command found a problem, 2 wrong input, 130 interrupted."""
    args = argparse.Namespace(command="", debug=False)
    try:
        args = build_parser().parse_args(argv)
        from cosmos_lidar.log import configure

        configure(args.debug)
        if args.largest_item:
            set_largest_item(args.largest_item)
        require_installed(args.needs(args), f"cosmos-lidar {args.command}")
        return int(args.run(args) or 0)
    except UserError as error:
        if args.debug:
            raise
        print(f"cosmos-lidar {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{f'cosmos-lidar {args.command}'.strip()}: interrupted; finished results are kept", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 141
    except (OSError, MemoryError, RuntimeError) as error:
        advice = advice_of(error, "less at once (such as --batch_size, --jobs), or another --device")
        if args.debug or advice is None:
            raise
        print(f"cosmos-lidar {args.command}: {advice}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
