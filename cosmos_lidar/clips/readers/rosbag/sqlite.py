"""SQLite files (``.db3``) of rosbag2, opened read-only; the heads of messages are read without the rest of them."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from cosmos_lidar.bounds import expect_size
from cosmos_lidar.clips.readers.rosbag.storage import HEAD_SIZE, Entry, Topic, message_type
from cosmos_lidar.clips.sqlite_file import expect_tables, open_database
from cosmos_lidar.errors import DataError

_HEAD = "SELECT substr(data, 1, ?) FROM messages WHERE id = ?"
_WANTED = "a database that rosbag2 wrote, with tables topics and messages"


@dataclass(frozen=True)
class SqliteFile:
    """A database of a bag.

    Attributes:
        path: of it.
    """

    path: Path

    def topics(self) -> list[Topic]:
        """Return the topics.

        Raises:
            DataError: no such database.
        """
        with self._open() as database:
            rows = database.execute("SELECT name, type, serialization_format FROM topics ORDER BY id").fetchall()
        return [Topic(str(name), message_type(str(type)), str(encoding)) for name, type, encoding in rows]

    def index(self, topics: Collection[str], head_size: int = HEAD_SIZE) -> Iterator[Entry]:
        """Yield where the messages of topics are, in the order of their times.

        Raises:
            DataError: no such database, or a message that is none.
        """
        query = (
            "SELECT messages.id, messages.timestamp, topics.name FROM messages JOIN topics ON topics.id = topic_id "
            "ORDER BY messages.timestamp, messages.id"
        )
        with self._open() as database:
            for key, time_ns, name in database.execute(query).fetchall():
                if name in topics:
                    (head,) = database.execute(_HEAD, (head_size, key)).fetchone()
                    yield Entry(name, int(time_ns), int(key), bytes(head))

    def fetch(self, place: int) -> bytes:
        """Return a message.

        Raises:
            DataError: it is larger than the limit, or not there.
        """
        with self._open() as database:
            size = database.execute("SELECT length(data) FROM messages WHERE id = ?", (place,)).fetchone()
            if size is None or size[0] is None:
                raise DataError("no such message", file=self.path, key=f"messages {place}", wanted=_WANTED)
            expect_size(int(size[0]), "a message", file=self.path, key=f"messages {place}")
            (content,) = database.execute("SELECT data FROM messages WHERE id = ?", (place,)).fetchone()
        if not isinstance(content, bytes):
            raise DataError("a message is no blob", file=self.path, key=f"messages {place}", wanted=_WANTED)
        return content

    @contextmanager
    def stream(self, place: int) -> Iterator[tuple[BinaryIO, int]]:
        """Open a message to be read piece by piece; raises as :meth:`fetch`."""
        if not hasattr(sqlite3.Connection, "blobopen"):  # before Python 3.11
            content = self.fetch(place)
            yield io.BytesIO(content), len(content)
            return
        with self._open() as database, cast(Any, database).blobopen("messages", "data", place, readonly=True) as blob:
            expect_size(len(blob), "a message", file=self.path, key=f"messages {place}")
            yield cast(BinaryIO, blob), len(blob)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with open_database(self.path, _WANTED) as database:
            expect_tables(database, ("topics", "messages"))
            yield database
