"""The files of a reader's EXAMPLE_LAYOUT, as empty files: recognition looks at names only.

Blank lines separate alternative layouts. A line holds paths separated by commas and, after two blanks, a remark:
``(optional)`` files may be missing, a ``(generic)`` layout is recognized as GENERIC only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from cosmos_lidar.clips import find_readers


@dataclass(frozen=True)
class ExampleTree:
    """One alternative of one reader; ``files`` relative to the folder that a user would name."""

    reader: str
    number: int
    files: tuple[str, ...]
    needed: tuple[str, ...]
    generic: bool

    def write(self, root: Path, optional: bool = True) -> Path:
        for name in self.files if optional else self.needed:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
        return root


def example_trees(name: str, reader: ModuleType) -> list[ExampleTree]:
    blocks = re.split(r"\n\s*\n", reader.EXAMPLE_LAYOUT.strip())
    return [_tree(name, number, block.splitlines()) for number, block in enumerate(blocks)]


def all_trees() -> list[ExampleTree]:
    return [tree for name, reader in find_readers().items() for tree in example_trees(name, reader)]


def _tree(name: str, number: int, lines: list[str]) -> ExampleTree:
    files, needed, remarks = [], [], ""
    for line in lines:
        paths, remark = (re.split(r"\s{2,}", line.strip(), maxsplit=1) + [""])[:2]
        named = [re.sub(r"[<>*]", "x", path.strip()) for path in paths.split(",") if path.strip(" …")]
        files += named
        needed += [] if "(optional" in remark else named
        remarks += remark
    return ExampleTree(name, number, tuple(files), tuple(needed), "(generic)" in remarks)
