"""ROS 1 bags (``.bag``, version 2.0) through the library rosbags (extra ``ros``)."""

from __future__ import annotations

import bz2
import importlib
import io
import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from cosmos_lidar.bounds import expect_plain_file, expect_size, largest_item
from cosmos_lidar.clips.readers.rosbag.storage import HEAD_SIZE, Entry, Topic
from cosmos_lidar.errors import DataError
from cosmos_lidar.extras import require

_COMPRESSED = (b"BZh", b"\x04\x22\x4d")  # how chunks of bzip2 and of LZ4 start
_LONGEST_HEADER = 0xFFFF
_WANTED = "a complete and indexed ROS 1 bag of version 2.0 (rosbag reindex repairs one that was cut off)"


@dataclass(frozen=True)
class Ros1File:
    """A bag of ROS 1.

    Attributes:
        path: of it.
    """

    path: Path

    def topics(self) -> list[Topic]:
        """Return the topics.

        Raises:
            DataError: no such bag, not indexed, or truncated.
        """
        with self._reading():
            found: dict[tuple[str, str], int] = {}
            for one in _reader(self.path).connections:
                key = one.topic, one.msgtype
                found[key] = found.get(key, 0) + one.msgcount
        return [Topic(name, type, "ros1", count) for (name, type), count in found.items()]

    def index(self, topics: Collection[str], head_size: int = HEAD_SIZE) -> Iterator[Entry]:
        """Yield where the messages of topics are, in the order of their times.

        Raises:
            DataError: a chunk that cannot be unpacked.
        """
        with self._reading():
            reader = _reader(self.path)
            chosen = [one for one in reader.connections if one.topic in topics]
            same, before = 0, None
            for connection, time_ns, content in reader.messages(chosen) if chosen else ():
                same = same + 1 if before == (connection.topic, time_ns) else 0
                before = connection.topic, time_ns
                place = (connection.topic, time_ns, same)
                yield Entry(connection.topic, time_ns, place, bytes(content[:head_size]))

    def fetch(self, place: tuple[str, int, int]) -> bytes:
        """Return a message.

        Raises:
            DataError: it is not there.
        """
        topic, time_ns, number = place
        with self._reading():
            reader = _reader(self.path)
            chosen = [one for one in reader.connections if one.topic == topic]
            for place_of_time, (_, _, content) in enumerate(reader.messages(chosen, time_ns, time_ns + 1)):
                if place_of_time == number:
                    return bytes(content)
        raise DataError("no such message", file=self.path, key=topic, wanted=_WANTED)

    @contextmanager
    def stream(self, place: tuple[str, int, int]) -> Iterator[tuple[BinaryIO, int]]:
        """Open a message to be read piece by piece; one of a compressed chunk is unpacked whole.

        Raises:
            DataError: it is not there.
        """
        found = self._plain(place)
        if found is None:
            content = self.fetch(place)
            yield io.BytesIO(content), len(content)
            return
        start, size = found
        expect_size(size, "a message", file=self.path)
        with self.path.open("rb") as file:
            file.seek(start)
            yield file, size

    def _plain(self, place: tuple[str, int, int]) -> tuple[int, int] | None:
        """Return place and size of a message in the file; None in a compressed chunk, or where it is not as usual."""
        topic, time_ns, number = place
        with self._reading():
            reader = _reader(self.path)
            ids = [one.id for one in reader.connections if one.topic == topic]
            entries = [entry for key in ids for entry in reader.indexes[key] if entry.time == time_ns]
            if number >= len(entries):
                return None
            chunk, offset = reader.chunks[entries[number].chunk_pos], entries[number].offset
            with self.path.open("rb") as file:
                file.seek(chunk.datapos)
                if file.read(4)[:3] in _COMPRESSED:
                    return None
                file.seek(chunk.datapos + offset)
                header = file.read(struct.unpack("<I", file.read(4))[0] & _LONGEST_HEADER)
                size = struct.unpack("<I", file.read(4))[0]
                start = file.tell()
        is_message = b"\x04\0\0\0op=\x02" in header and start + size <= chunk.datapos + chunk.datasize
        return (start, size) if is_message else None

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            expect_plain_file(self.path)
            yield
        except (DataError, GeneratorExit):
            raise
        except Exception as error:  # rosbags lets errors of struct, of compression and assertions through
            problem = f"not readable: {type(error).__name__} {error!s:.200}"
            raise DataError(problem, file=self.path, wanted=_WANTED) from error


@lru_cache(maxsize=4)
def _reader(path: Path) -> Any:
    """Return the opened bag: its index is read once per process."""
    module = require("rosbags.rosbag1")
    reader = module.Reader(path)
    reader.open()
    reader.chunks = {at: chunk._replace(decompressor=_unpack) for at, chunk in reader.chunks.items()}
    return reader


def _unpack(packed: bytes) -> bytes:
    """Return the records of a chunk, whose compression its first bytes show; no more than the limit is unpacked."""
    if packed[:3] == b"BZh":
        content = bz2.BZ2Decompressor().decompress(packed, max_length=largest_item() + 1)
    elif packed[:4] == b"\x04\x22\x4d\x18":
        lz4 = importlib.import_module("lz4.frame")  # rosbags brings it
        content = lz4.LZ4FrameDecompressor().decompress(packed, max_length=largest_item() + 1)
    else:
        return packed  # a number below 2^24 comes first: the length of the head of a record
    expect_size(len(content), "a chunk")
    return content
