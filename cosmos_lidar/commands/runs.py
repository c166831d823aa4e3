"""``cosmos-lidar runs``: the training runs below a folder, side by side."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from cosmos_lidar.arguments import out_file

GROUP = "training"
HELP = "compare the training runs below a folder: state, best metrics, options that differ, curves in one offline page"
EXAMPLE = "cosmos-lidar runs checkpoints --html runs.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder of runs, such as that of log.root, or one run")
    parser.add_argument("--html", metavar="FILE", type=out_file, help="write one offline page: table, curves, images")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print a line per run as CSV instead of the table")
    form.add_argument("--json", action="store_true", help="print a JSON document instead, with all options of each run")


def run(args: argparse.Namespace) -> int:
    """List the runs; returns 0, also where parts of a run cannot be read, which is printed with the table.

    Raises:
        DataError: no such folder.
        UserError: it cannot be listed.
    """
    from cosmos_lidar.progress import track
    from cosmos_lidar.runs import listing
    from cosmos_lidar.runs.finding import find_runs
    from cosmos_lidar.runs.page import write_page
    from cosmos_lidar.runs.reading import read_run

    found = find_runs(args.folder)
    named = list(zip(found.folders, listing.run_names(found.folders), strict=True))
    runs = [read_run(folder, name) for folder, name in track(named, "read", "runs")]
    if not runs:
        found.problems.append(f"no run below {args.folder}: a run folder has config.yaml, metrics.csv and checkpoints/")
    if args.json:
        sys.stdout.write(listing.to_json(args.folder, runs, found.problems))
    elif args.csv:
        sys.stdout.write(listing.to_csv(runs))
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        sys.stdout.write(listing.show(runs, found.problems, width))
    if args.html:
        write_page(args.html, args.folder, runs, found.problems)
        sys.stderr.write(f"{args.html}\n")
    return 0
