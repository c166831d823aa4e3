"""The checkpoints of one run in a folder, in the order in which it wrote them, and which of these are whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmos_lidar.errors import DataError
from cosmos_lidar.files import atomic_write
from cosmos_lidar.training.checkpoint.manifest import MANIFEST, checkpoints_in, read_manifest, verify

POINTER = "newest_checkpoint.json"
_FORMER_POINTER = "latest_checkpoint.txt"  # of earlier versions; the published trainer looks for a file name in it


@dataclass(frozen=True)
class Written:
    """A checkpoint with a manifest that can be read.

    Attributes:
        path: of the folder.
        run: the line of checkpoints that it belongs to; empty of an earlier version.
        order: of writing, in that line; 0 of an earlier version.
        step: steps that it has seen.
        metrics: by which the best are kept.
    """

    path: Path
    run: str
    order: int
    step: int
    metrics: dict[str, Any]

    def is_of(self, run: str) -> bool:
        """Tell whether it belongs to a line; those of earlier versions belong to any."""
        return self.run in (run, "")


def written_in(folder: Path, report: Callable[[str], None]) -> list[Written]:
    """Return the checkpoints in a folder, last written first.

    Args:
        folder: the ``checkpoints`` folder of a run.
        report: called with a message for each checkpoint whose manifest cannot be read.
    """
    found = []
    for path in checkpoints_in(folder):
        try:
            manifest = read_manifest(path)
        except DataError as error:
            report(f"{path} is skipped: {error}")
            continue
        found.append(_written(path, manifest))
    return sorted(found, key=lambda one: (one.order, one.step), reverse=True)


def newest_of_line(folder: Path, report: Callable[[str], None]) -> Path | None:
    """Return the good checkpoint that was written last by the run that wrote last, None where there is no checkpoint.

    Every file of it is compared with its checksum. That run is named by the pointer; without one, as in a folder that
    somebody copied together, the checkpoint of the highest step is taken.

    Args:
        folder: the ``checkpoints`` folder of a run.
        report: called with a message for each checkpoint that is skipped.

    Raises:
        DataError: there are checkpoints, and none of them is good: what is wrong with each.
    """
    problems: list[str] = []

    def skip(text: str) -> None:
        problems.append(text)
        report(text)

    found, run = written_in(folder, skip), read_pointer(folder)
    if run is None:
        found.sort(key=lambda one: one.step, reverse=True)
    for one in found:
        if run is not None and not one.is_of(run):
            skip(f"{one.path} is skipped: another run wrote it; trainer.resume={one.path} resumes from it")
            continue
        try:
            verify(one.path)
        except DataError as error:
            skip(f"{one.path} is skipped: {error}")
        else:
            return one.path
    if not problems:
        return None
    wanted = (
        "a good one: trainer.resume=PATH names it, trainer.resume=none moves this run aside and starts from scratch"
    )
    raise DataError(f"no checkpoint that could be resumed from: {'; '.join(problems)}", file=folder, wanted=wanted)


def read_pointer(folder: Path) -> str | None:
    """Return the line of checkpoints that was written last into a folder; None without a pointer."""
    try:
        return str(json.loads((folder / POINTER).read_text(encoding="utf-8"))["run"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_pointer(path: Path, step: int, run: str) -> None:
    """Name a checkpoint as the newest one of its folder.

    It has a name of our own: the published trainer resumes from the file that ``latest_checkpoint.txt`` names, with
    optimizer and scheduler as it stores them, which no file of ours holds. Without that file it starts from the
    weights that it is given. That of earlier versions, which named a folder, is removed.
    """
    with atomic_write(path.parent / POINTER, sync=True) as partial:
        partial.write_text(json.dumps({"name": path.name, "step": step, "run": run}) + "\n", encoding="utf-8")
    former = path.parent / _FORMER_POINTER
    if former.is_file() and (path.parent / former.read_text(encoding="utf-8", errors="replace").strip()).is_dir():
        former.unlink()


class GoodOnes:
    """Tells whether checkpoints are whole; each is read in full once, later calls compare sizes alone."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[int, int]] = {}

    def add(self, path: Path) -> None:
        """Note one that was verified, or written just now."""
        self._seen[path] = self._signature(path)

    def __call__(self, path: Path) -> bool:
        """Tell whether all files of a checkpoint are as they were written."""
        try:
            if self._seen.get(path) != self._signature(path):
                verify(path)
                self.add(path)
            files = read_manifest(path)["files"]
            return all((path / name).stat().st_size == record["bytes"] for name, record in files.items())
        except (DataError, OSError):
            return False

    def first(self, found: list[Written], count: int) -> Iterator[Path]:
        """Yield the paths of the first ``count`` good ones."""
        for one in found:
            if count <= 0:
                return
            if self(one.path):
                count -= 1
                yield one.path

    @staticmethod
    def _signature(path: Path) -> tuple[int, int]:
        found = (path / MANIFEST).stat()
        return found.st_ino, found.st_mtime_ns


def _written(path: Path, manifest: dict[str, Any]) -> Written:
    return Written(
        path, str(manifest.get("run", "")), int(manifest.get("order", 0)), int(manifest["step"]), manifest["metrics"]
    )
