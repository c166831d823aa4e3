"""How surely a path is recognized as a dataset, and datasets that are known by their names although nothing reads them.

A reader's ``recognise`` returns a :class:`Strength`; the strongest reader opens the path. Readers of bare files (any
folder of ``.bin``) are GENERIC: they open what no reader recognizes by its own names, but not what
:func:`look_alike` recognizes as another dataset.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator
from enum import IntEnum
from itertools import islice
from pathlib import Path

_DEPTH, _SCANNED = 6, 256
_LISTED, _FOLDERS, _FILES = 256, 32, 8  # of one folder


class Strength(IntEnum):
    """How surely a reader recognizes a path."""

    NONE = 0
    """Not the reader's layout."""
    GENERIC = 1
    """Files of a kind that many datasets have: readable, if the reader's assumptions hold."""
    EXACT = 2
    """Names of files or folders that only this dataset has."""


_DATASETS = {
    "TruckScenes": r"/ego_motion_(cabin|chassis)\.json$",
}


def strength_of(answer: bool | int) -> Strength:
    """Return the strength that an answer of ``recognise`` means; a reader of before that says True is sure."""
    return (Strength.EXACT if answer else Strength.NONE) if isinstance(answer, bool) else Strength(answer)


def look_alike(path: Path) -> str | None:
    """Return the name of the dataset whose names of files and folders are found at ``path``; None where none is.

    Only some names of each folder are looked at, six folders deep, and nothing is read.
    """
    names = [name.as_posix() for name in _some_names(path.resolve())]
    for dataset, pattern in _DATASETS.items():
        if any(re.search(pattern, name) for name in names):
            return dataset
    return None


def _some_names(path: Path) -> Iterator[Path]:
    """Yield names breadth first: a few of each folder, ``_SCANNED`` folders in all."""
    waiting, scanned = deque([(path, 0)]), 0
    while waiting:
        path, depth = waiting.popleft()
        yield path
        if depth == _DEPTH or scanned == _SCANNED or not path.is_dir():
            continue
        scanned += 1
        with os.scandir(path) as listing:
            shown = (entry for entry in listing if not entry.name.startswith("."))
            entries = sorted((entry.name, entry.is_dir()) for entry in islice(shown, _LISTED))
        yield from islice((path / name for name, is_folder in entries if not is_folder), _FILES)
        waiting += islice(((path / name, depth + 1) for name, is_folder in entries if is_folder), _FOLDERS)
