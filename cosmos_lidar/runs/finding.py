"""Run folders below a folder, in order of their paths."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.training.checkpoint.manifest import ASIDE
from cosmos_lidar.training.owner import FOLDER
from cosmos_lidar.training.run_folder import CHECKPOINTS, CONFIG, METRICS

MOST_RUNS = 1000
MOST_FOLDERS = 200_000
_INSIDE_RUNS = {CHECKPOINTS, ASIDE, "logs", "dumps", "validation", "synthetic"}
_HEADER = b"step,"  # other commands write a metrics.csv, too


@dataclass
class Found:
    """What a search found.

    Attributes:
        folders: of runs, sorted.
        problems: what could not be searched, and why.
    """

    folders: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def find_runs(root: Path, most_runs: int = MOST_RUNS, most_folders: int = MOST_FOLDERS) -> Found:
    """Return the run folders in and below ``root``; links are followed, hidden folders and checkpoints left out.

    Args:
        root: folder to search; it may itself be a run.
        most_runs: the search ends there, which is a problem of the result.
        most_folders: likewise.

    Raises:
        DataError: no such folder.
        UserError: it cannot be listed.
    """
    if not root.is_dir():
        raise DataError("no such folder", file=root, wanted="a folder with training runs below it")
    found = Found()
    if not os.access(root, os.R_OK | os.X_OK):
        raise UserError(f"{root} cannot be listed: permission denied")
    for number, folder in enumerate(_walk(root, found.problems)):
        if number >= most_folders:
            found.problems.append(f"{root}: more than {most_folders} folders, the others were not searched")
            break
        if _is_run(folder):
            if len(found.folders) >= most_runs:
                found.problems.append(f"{root}: more than {most_runs} runs, the others were left out")
                break
            found.folders.append(folder)
    return found


def _walk(root: Path, problems: list[str]) -> Iterator[Path]:
    """Yield folders from top to bottom, each once, whatever links lead to it."""
    seen: set[tuple[int, int]] = set()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                names = [entry.name for entry in entries if _leads_on(entry)]
        except OSError as error:
            problems.append(f"{folder}: not searched ({error.strerror or error})")
            continue
        waiting += [folder / name for name in sorted(names, reverse=True)]
        yield folder


def _leads_on(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and entry.name not in _INSIDE_RUNS and entry.is_dir()


def _is_run(folder: Path) -> bool:
    """Whether a training run wrote a folder, or began to: its owner, its options beside checkpoints, or its log."""
    try:
        if (folder / FOLDER).is_dir():
            return True
        return ((folder / CONFIG).is_file() and (folder / CHECKPOINTS).is_dir()) or _is_log(folder / METRICS)
    except OSError:
        return False


def _is_log(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(len(_HEADER)) == _HEADER
