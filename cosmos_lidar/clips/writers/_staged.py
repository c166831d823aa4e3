"""Files and folders written under temporary names, which get their real names together or not at all."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from pathlib import Path

from cosmos_lidar.errors import DataError

_MARK = re.compile(r"\..+\.(?:part|old)-[0-9a-f]{8}")


class Staged:
    """A context manager: what :meth:`file` and :meth:`folder` were asked for appears when its block ends well.

    The real names are given in the order in which they were asked for; what had them before is replaced. A block that
    ends by an error, ``KeyboardInterrupt`` too, leaves everything as it was.

    Args:
        root: folder of the dataset; made where absent.
        clip: for messages.

    Raises:
        DataError: something in the block could not be written (an OSError).
    """

    def __init__(self, root: Path, clip: str | None = None) -> None:
        self._root, self._clip, self._mark = root, clip, uuid.uuid4().hex[:8]
        self._parts: list[tuple[Path, Path]] = []

    def __enter__(self) -> Staged:
        return self

    def file(self, name: str) -> Path:
        """Return the temporary path of the file ``name``, relative to the root; its folder is there."""
        target = self._root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        part = self._aside(target, "part")
        self._parts.append((part, target))
        return part

    def folder(self, name: str) -> Path:
        """Return the temporary path of the folder ``name``, made and empty."""
        part = self.file(name)
        part.mkdir()
        return part

    @property
    def files(self) -> tuple[str, ...]:
        """Names, relative to the root, of all files so far, by their real names."""
        found: list[str] = []
        for part, target in self._parts:
            if part.is_dir():
                inner = sorted(path for path in part.rglob("*") if path.is_file())
                found += [(target / path.relative_to(part)).relative_to(self._root).as_posix() for path in inner]
            elif part.exists():
                found.append(target.relative_to(self._root).as_posix())
        return tuple(found)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if kind is None:
                self._commit()
        except OSError as failure:
            raise self._refusal(failure) from failure
        finally:
            for part, _ in self._parts:
                _remove(part)
        if isinstance(error, OSError):
            raise self._refusal(error) from error

    def _refusal(self, error: OSError) -> DataError:
        problem = f"cannot be written: {error.strerror or error}"
        return DataError(problem, file=self._root, clip=self._clip, wanted="a writable folder with room")

    def _commit(self) -> None:
        old: list[tuple[Path, Path]] = []
        new: list[Path] = []
        try:
            for part, target in self._parts:
                if not part.exists():  # asked for and not made
                    continue
                if target.exists():
                    aside = self._aside(target, "old")
                    old.append((aside, target))
                    os.replace(target, aside)
                new.append(target)
                os.replace(part, target)
        except BaseException:
            for target in new:
                _remove(target)
            for aside, target in old:
                if aside.exists():
                    os.replace(aside, target)
            raise
        for aside, _ in old:
            _remove(aside)

    def _aside(self, target: Path, what: str) -> Path:
        return target.with_name(f".{target.name}.{what}-{self._mark}")


def remove_leftovers(root: Path) -> None:
    """Remove what killed processes left below a folder; nothing may be writing there."""
    found = [path for path in root.rglob(".*-*") if _MARK.fullmatch(path.name)]
    for path in found:
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
