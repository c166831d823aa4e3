"""SQLite databases of recordings, opened read-only: nothing beside the file is read or written, views are refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from cosmos_lidar.bounds import expect_plain_file
from cosmos_lidar.errors import DataError


@contextmanager
def open_database(path: Path, wanted: str, clip: str | None = None) -> Iterator[sqlite3.Connection]:
    """Open a database; errors of SQLite in the block, and of values that are no such numbers, name the file.

    Args:
        path: of the database.
        wanted: what it should be, for messages.
        clip: for messages.

    Raises:
        DataError: no database, a truncated one, or whatever SQLite refuses.
    """
    expect_plain_file(path, clip)
    _refuse_truncated(path, wanted, clip)
    try:
        uri = f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1"
        with closing(sqlite3.connect(uri, uri=True)) as database:
            database.execute("PRAGMA trusted_schema = OFF")
            yield database
    except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
        raise DataError(f"not readable: {error}", file=path, clip=clip, wanted=wanted) from error


def expect_tables(database: sqlite3.Connection, names: tuple[str, ...]) -> None:
    """Refuse a database where one of ``names`` is no table: a view in its place is a program that may never end.

    Raises:
        ValueError: a table is missing, or is a view or a virtual table.
    """
    for name in names:
        found = database.execute("SELECT type, sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()
        if found is None:
            raise ValueError(f"no table {name}")
        if found[0] != "table" or "virtual" in str(found[1]).lower().split("table")[0]:
            raise ValueError(f"{name} is no plain table")


def _refuse_truncated(path: Path, wanted: str, clip: str | None) -> None:
    """Compare the pages that the header states (format of SQLite, bytes 16 and 28) with the size of the file."""
    try:
        with path.open("rb") as file:
            head = file.read(100)
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"not readable: {error.strerror}", file=path, clip=clip, wanted=wanted) from error
    page, pages = int.from_bytes(head[16:18], "big"), int.from_bytes(head[28:32], "big")
    needed = (65536 if page == 1 else page) * pages
    if size < needed:
        raise DataError(f"not readable: {size} of {needed} bytes", file=path, clip=clip, wanted=wanted)
