"""MCAP files: topics, and messages by their place in the file; chunks are unpacked once per reading.

A file is a sequence of records: opcode (1 byte), length (8 bytes), content. Messages lie in the file itself or in
chunks, which may be compressed by zstd or lz4 (which comes with the library rosbags, extra ``ros``).
"""

from __future__ import annotations

import importlib
import io
import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from cosmos_lidar.bounds import expect_size
from cosmos_lidar.clips.readers.rosbag.storage import HEAD_SIZE, Entry, Topic, message_type
from cosmos_lidar.clips.zstd import unpack_zstd
from cosmos_lidar.errors import DataError
from cosmos_lidar.extras import require

_MAGIC = b"\x89MCAP0\r\n"
_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _STATISTICS, _DATA_END = 2, 3, 4, 5, 6, 11, 15
_RECORD = struct.Struct("<BQ")
_MESSAGE_HEAD = struct.Struct("<HIQQ")
_CHUNK_HEAD = struct.Struct("<QQQI")
_LARGEST_RECORD = 1 << 24  # of schemas and channels
_WANTED = "a complete MCAP file"


class _BrokenError(Exception):
    pass


@dataclass(frozen=True)
class _Place:
    """Where a message is: in the file, or in what a compressed chunk at ``chunk`` unpacks to."""

    offset: int
    size: int
    chunk: int | None = None


@dataclass(frozen=True)
class _Asked:
    """Which messages are asked for, and how many of their first bytes."""

    topics: Collection[str]
    head_size: int


@dataclass
class _Contents:
    schemas: dict[int, str] = field(default_factory=dict)
    channels: dict[int, tuple[str, int, str]] = field(default_factory=dict)  # topic, schema, encoding
    counts: dict[int, int] | None = None


@dataclass(frozen=True)
class McapFile:
    """An MCAP file of a bag.

    Attributes:
        path: of it.
    """

    path: Path

    def topics(self) -> list[Topic]:
        """Return the topics by the summary of the file, or by all of it where it has none.

        Raises:
            DataError: no such file, or truncated.
        """
        contents = _Contents()
        with self._open() as file:
            try:
                summary = _summary_start(file)
                if summary:
                    file.seek(summary)
                    _read_summary(file, contents)
                if not contents.channels:
                    for _ in _messages(file, contents, (), 0):
                        pass
            except _BrokenError as error:
                raise self._refuse(error) from error
        found: dict[tuple[str, str, str], int | None] = {}
        for key, (name, schema, encoding) in sorted(contents.channels.items()):
            topic = name, message_type(contents.schemas.get(schema, "without a type")), encoding
            count = None if contents.counts is None else contents.counts.get(key, 0)
            found[topic] = None if count is None else count + (found.get(topic) or 0)
        return [Topic(*topic, count) for topic, count in found.items()]

    def index(self, topics: Collection[str], head_size: int = HEAD_SIZE) -> Iterator[Entry]:
        """Yield where the messages of topics are, in the order of the file.

        Raises:
            DataError: no such file, truncated, or a chunk that cannot be unpacked.
        """
        with self._open() as file:
            try:
                yield from _messages(file, _Contents(), topics, head_size)
            except _BrokenError as error:
                raise self._refuse(error) from error

    def fetch(self, place: _Place) -> bytes:
        """Return a message.

        Raises:
            DataError: it is larger than the limit, or the file is not what it was.
        """
        expect_size(place.size, "a message", file=self.path)
        if place.chunk is not None:
            content = _unpacked(self.path, place.chunk)[place.offset : place.offset + place.size]
        else:
            with self._open() as file:
                file.seek(place.offset)
                content = file.read(place.size)
        if len(content) != place.size:
            raise self._refuse(f"{len(content)} of {place.size} bytes of a message")
        return content

    @contextmanager
    def stream(self, place: _Place) -> Iterator[tuple[BinaryIO, int]]:
        """Open a message to be read piece by piece; raises as :meth:`fetch`."""
        expect_size(place.size, "a message", file=self.path)
        with self._open() if place.chunk is None else io.BytesIO(_unpacked(self.path, place.chunk)) as file:
            file.seek(place.offset)
            yield file, place.size

    def _open(self) -> BinaryIO:
        try:
            return self.path.open("rb")
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror}", file=self.path) from error

    def _refuse(self, problem: object) -> DataError:
        return DataError(str(problem), file=self.path, wanted=_WANTED)


@lru_cache(maxsize=2)
def _unpacked(path: Path, offset: int) -> bytes:
    """Return what a compressed chunk unpacks to; neighboring sweeps lie in the same one."""
    with path.open("rb") as file:
        file.seek(offset)
        try:
            opcode, size = _record(file)
            if opcode != _CHUNK:
                raise _BrokenError("no chunk where one was")
            compression, start, packed, unpacked, _ = _chunk(file, size)
            file.seek(start)
            return _unpack(file.read(packed), compression, unpacked)
        except _BrokenError as error:
            raise DataError(str(error), file=path, wanted=_WANTED) from error


def _unpack(packed: bytes, compression: str, size: int) -> bytes:
    """Return the records of a chunk; never more than their stated size is unpacked."""
    try:
        expect_size(size, "a chunk")
        if compression == "lz4":
            require("rosbags")  # which brings it
            frame = importlib.import_module("lz4.frame")
            content = frame.LZ4FrameDecompressor().decompress(packed, max_length=size + 1)
        elif compression == "zstd":
            return unpack_zstd(packed, size)
        else:
            raise _BrokenError(f"a chunk compressed by {compression!r}, known are lz4 and zstd")
    except DataError as error:
        raise _BrokenError(f"a chunk: {error.problem}") from error
    except _BrokenError:
        raise
    except Exception as error:  # each library has errors of its own
        raise _BrokenError(f"a chunk does not unpack: {error!s:.200}") from error
    if len(content) != size:
        raise _BrokenError(f"a chunk unpacks to {len(content)} bytes or more, not to {size}")
    return content


def _record(file: BinaryIO) -> tuple[int, int]:
    """Return opcode and length of the record at the place of the file, which is moved to its content."""
    content = file.read(_RECORD.size)
    if len(content) < _RECORD.size:
        raise _BrokenError("it ends inside a record")
    opcode, size = _RECORD.unpack(content)
    return opcode, size


def _read(file: BinaryIO, size: int) -> bytes:
    if size > _LARGEST_RECORD:
        raise _BrokenError(f"a record of {size} bytes")
    content = file.read(size)
    if len(content) < size:
        raise _BrokenError("it ends inside a record")
    return content


def _text(content: bytes, at: int) -> tuple[str, int]:
    """Return a text with its length before it, and where it ends."""
    if at + 4 > len(content):
        raise _BrokenError("a record ends inside a text")
    (size,) = struct.unpack_from("<I", content, at)
    if at + 4 + size > len(content):
        raise _BrokenError("a record ends inside a text")
    return content[at + 4 : at + 4 + size].decode("utf-8", "replace"), at + 4 + size


def _summary_start(file: BinaryIO) -> int:
    """Return where the summary starts, 0 for none; check the start and end of the file."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if file.read(len(_MAGIC)) != _MAGIC:
        raise _BrokenError("it does not start as an MCAP file")
    footer = size - len(_MAGIC) - 20 - _RECORD.size
    file.seek(max(footer, len(_MAGIC)))
    content = file.read()
    if content[-len(_MAGIC) :] != _MAGIC or content[:9] != _RECORD.pack(_FOOTER, 20):
        raise _BrokenError("it does not end as an MCAP file: it is not complete")
    (start,) = struct.unpack_from("<Q", content, _RECORD.size)
    if start > footer:
        raise _BrokenError(f"a summary at byte {start} of {size}")
    return start


def _read_summary(file: BinaryIO, contents: _Contents) -> None:
    while True:
        opcode, size = _record(file)
        if opcode == _FOOTER:
            return
        if opcode in (_SCHEMA, _CHANNEL, _STATISTICS):
            _note(opcode, _read(file, size), contents)
        else:
            file.seek(size, io.SEEK_CUR)


def _note(opcode: int, content: bytes, contents: _Contents) -> None:
    """Keep a schema, a channel, or the counts of messages."""
    try:
        if opcode == _SCHEMA:
            contents.schemas[struct.unpack_from("<H", content)[0]] = _text(content, 2)[0]
        elif opcode == _CHANNEL:
            key, schema = struct.unpack_from("<HH", content)
            topic, at = _text(content, 4)
            contents.channels[key] = topic, schema, _text(content, at)[0]
        else:
            (size,) = struct.unpack_from("<I", content, 42)
            contents.counts = dict(struct.iter_unpack("<HQ", content[46 : 46 + size]))
    except struct.error as error:
        raise _BrokenError(f"a record of {len(content)} bytes") from error


def _messages(file: BinaryIO, contents: _Contents, topics: Collection[str], head_size: int) -> Iterator[Entry]:
    """Yield the messages of a file; of no topics, schemas and channels are found all the same."""
    _summary_start(file)
    file.seek(len(_MAGIC))
    yield from _walk(file, None, contents, _Asked(topics, head_size), None)


def _walk(file: BinaryIO, end: int | None, contents: _Contents, asked: _Asked, chunk: int | None) -> Iterator[Entry]:
    """Yield the messages from the place of a file, or of an unpacked chunk, up to ``end`` or the end of the data."""
    while end is None or file.tell() < end:
        at = file.tell()
        opcode, size = _record(file)
        if opcode in (_DATA_END, _FOOTER):
            return
        after = file.tell() + size
        if end is not None and after > end:
            raise _BrokenError("a record runs beyond its chunk")
        if opcode in (_SCHEMA, _CHANNEL):
            _note(opcode, _read(file, size), contents)
        elif opcode == _MESSAGE:
            yield from _message(file, size, contents, asked, chunk)
        elif opcode == _CHUNK:
            if end is not None:
                raise _BrokenError("a chunk inside a chunk")
            compression, start, packed, unpacked, _ = _chunk(file, size)
            file.seek(start)
            if compression:
                records = io.BytesIO(_unpack(file.read(packed), compression, unpacked))
                yield from _walk(records, unpacked, contents, asked, at)
            else:
                yield from _walk(file, start + packed, contents, asked, None)
        file.seek(after)


def _message(file: BinaryIO, size: int, contents: _Contents, asked: _Asked, chunk: int | None) -> Iterator[Entry]:
    content = file.read(min(size, _MESSAGE_HEAD.size + asked.head_size))
    if len(content) < _MESSAGE_HEAD.size:
        raise _BrokenError(f"a message of {len(content)} bytes")
    key, _, time_ns, _ = _MESSAGE_HEAD.unpack_from(content)
    if key not in contents.channels:
        raise _BrokenError(f"a message of channel {key}, which is not there")
    topic = contents.channels[key][0]
    if topic in asked.topics:
        at = file.tell() - len(content) + _MESSAGE_HEAD.size
        place = _Place(at, size - _MESSAGE_HEAD.size, chunk)
        yield Entry(topic, time_ns, place, content[_MESSAGE_HEAD.size :])


def _chunk(file: BinaryIO, size: int) -> tuple[str, int, int, int, int]:
    """Return compression, start, packed size and size of the records of a chunk, and its end."""
    start = file.tell()
    content = file.read(min(size, 64))
    if len(content) < _CHUNK_HEAD.size + 12:
        raise _BrokenError(f"a chunk of {len(content)} bytes")
    unpacked = _CHUNK_HEAD.unpack_from(content)[2]
    compression, at = _text(content, _CHUNK_HEAD.size)
    if at + 8 > len(content):
        raise _BrokenError("a chunk ends in its head")
    (packed,) = struct.unpack_from("<Q", content, at)
    if at + 8 + packed > size:
        raise _BrokenError(f"{packed} bytes in a chunk of {size}")
    return compression, start + at + 8, packed, unpacked, start + size
