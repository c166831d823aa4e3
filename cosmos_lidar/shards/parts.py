"""Parts of one dataset, prepared by separate jobs (a SLURM array) and merged into one indexed folder of shards.

Job K of N writes every Nth shard of the plan, which all jobs compute alike, and notes them in a journal of its own,
``parts/KKKKK-of-NNNNN/``. Preparing the same folder without a part takes these journals over, writes what is missing,
and indexes: the files are the same, byte for byte, as those of one job.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.files import PARTIAL
from cosmos_lidar.shards.files import Journal

PARTS = "parts"
JOURNAL = "prepare.journal.jsonl"
_MOST = 100_000


@dataclass(frozen=True)
class Part:
    """Part ``number`` of ``count``, counted from 0."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """Return the part of a text such as ``3/16``.

        Raises:
            UserError: other text, or a number that is not below the count.
        """
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        if match is None or not int(match[1]) < int(match[2]) <= _MOST:
            raise UserError(f"--part {text}: expected K/N with 0 <= K < N <= {_MOST}, such as 0/16 for the first of 16")
        return cls(int(match[1]), int(match[2]))

    def holds(self, place: int) -> bool:
        """Return whether the shard at this place of the plan is one of the part's."""
        return place % self.count == self.number

    def folder(self, root: Path) -> Path:
        """Return the folder of its journal."""
        return root / PARTS / f"{self.number:05d}-of-{self.count:05d}"


def begun(root: Path) -> bool:
    """Return whether a folder is one that jobs are preparing, or were: it has a journal of a part, or half of one."""
    return (root / PARTS).is_dir() or all(path.name.endswith(PARTIAL) for path in root.iterdir())


def remove_partial_of(root: Path, names: list[str]) -> None:
    """Remove the partial files of some shards; other jobs may be writing others."""
    wanted = set(names)
    for leftover in root.glob(f".*{PARTIAL}"):
        if leftover.name[1:].rsplit(".", 2)[0] in wanted:
            leftover.unlink(missing_ok=True)


def adopt(root: Path, journal: Journal, fingerprint: str) -> None:
    """Take the finished shards of all parts over into the journal of the folder.

    Raises:
        DataError: a part was prepared from other clips or with other options.
    """
    for path in sorted((root / PARTS).glob(f"*/{JOURNAL}")):
        try:
            finished = Journal(path, fingerprint).finished
        except DataError as error:
            wanted = f"the same command in every job; or remove {path.parent} to write its shards again"
            raise DataError(
                "this part holds shards of other clips or other options", file=path, wanted=wanted
            ) from error
        for name, record in finished.items():
            if name not in journal.finished:
                journal.add(record)


def forget(root: Path) -> None:
    """Remove the journals of the parts, once the folder is complete and its own journal has all of them."""
    shutil.rmtree(root / PARTS, ignore_errors=True)
