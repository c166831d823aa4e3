"""The ``cosmos-lidar`` command: one sub-command per file in ``cosmos_lidar/commands``.

A command module has ``HELP`` (one line), ``EXAMPLE`` (a command line), ``add_arguments(parser)`` and ``run(args)``,
and imports heavy packages only inside ``run``: ``cosmos-lidar --help`` must stay under half a second.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from types import ModuleType

from cosmos_lidar import __version__, commands
from cosmos_lidar.errors import UserError


def find_commands() -> dict[str, ModuleType]:
    """Return the command modules by name; ``latents_stats.py`` is the command ``latents-stats``."""
    names = sorted(info.name for info in pkgutil.iter_modules(commands.__path__) if not info.name.startswith("_"))
    return {name.replace("_", "-"): importlib.import_module(f"cosmos_lidar.commands.{name}") for name in names}


def build_parser() -> argparse.ArgumentParser:
    """Return the argument parser with every sub-command in it."""
    parser = argparse.ArgumentParser(prog="cosmos-lidar", description="Sensor world models for autonomous driving.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--debug", action="store_true", help="show tracebacks and debug log lines")
    sub = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in find_commands().items():
        child = sub.add_parser(
            name,
            help=module.HELP,
            description=module.HELP,
            epilog=f"example:\n  {module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(child)
        child.set_defaults(run=module.run)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line; exit status 0 done, 1 the command found a problem, 2 wrong input, 130 interrupted."""
    args = build_parser().parse_args(argv)
    from cosmos_lidar.log import configure

    configure(args.debug)
    try:
        return int(args.run(args) or 0)
    except UserError as error:
        if args.debug:
            raise
        print(f"cosmos-lidar {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"cosmos-lidar {args.command}: interrupted; what was finished is kept", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 141


if __name__ == "__main__":
    sys.exit(main())
