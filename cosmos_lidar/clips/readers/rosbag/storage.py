"""What the files of a bag have in common: topics, an index of messages, one message by its place."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

HEAD_SIZE = 1024  # bytes of a message that an index looks at: its header, and the size and encoding of an image


@dataclass(frozen=True)
class Topic:
    """A topic of a file.

    Attributes:
        name: such as ``/points``.
        type: of its messages, such as ``sensor_msgs/msg/PointCloud2``.
        encoding: of its messages: ``cdr`` or ``ros1``; others cannot be read.
        count: of its messages; None where the file does not state it.
    """

    name: str
    type: str
    encoding: str
    count: int | None = None


@dataclass(frozen=True)
class Entry:
    """Where a message is.

    Attributes:
        topic: its name.
        time_ns: when it was recorded.
        place: what ``fetch`` of its file takes.
        head: its first bytes.
    """

    topic: str
    time_ns: int
    place: Any
    head: bytes


class Storage(Protocol):
    """A file of a bag. Errors are DataErrors that name the file."""

    path: Path

    def topics(self) -> list[Topic]:
        """Return its topics."""

    def index(self, topics: Collection[str], head_size: int = HEAD_SIZE) -> Iterator[Entry]:
        """Yield where the messages of topics are, in the order of the file, with so many of their first bytes."""

    def fetch(self, place: Any) -> bytes:
        """Return a message."""

    def stream(self, place: Any) -> AbstractContextManager[tuple[BinaryIO, int]]:
        """Open a message to be read piece by piece: a stream at its first byte, and its size."""


def message_type(text: str) -> str:
    """Return a type as ROS 2 writes it: ``sensor_msgs/Image`` of ROS 1 is ``sensor_msgs/msg/Image``."""
    package, _, name = text.rpartition("/")
    return f"{package}/msg/{name}" if package and "/" not in package else text


@dataclass(frozen=True)
class Head:
    """The header of a message, as far as an index needs it.

    Attributes:
        stamp_ns: nanoseconds since 1970; 0 where it was not set.
        frame: frame_id.
        size: (height, width), the next two numbers, of clouds and images.
        encoding: the text behind them, of images.
    """

    stamp_ns: int
    frame: str
    size: tuple[int, int]
    encoding: str


def parse_head(head: bytes, encoding: str) -> Head:
    """Return the header at the start of a message of type PointCloud2, Image or CompressedImage.

    Args:
        head: first bytes of it.
        encoding: ``cdr`` (4 bytes that state the byte order, then sec and nanosec) or ``ros1`` (seq, secs, nsecs).

    Raises:
        ValueError: too short.
    """
    try:
        if encoding == "cdr":
            start, order = 4, "<" if head[1] & 1 else ">"
            at, align = 4, 4
        else:
            start, order, at, align = 0, "<", 4, 1
        seconds, nanoseconds, length = struct.unpack_from(f"{order}3I", head, at)
        frame, at = _text(head, at + 12, length)
        at += -(at - start) % align
        height, width, length = struct.unpack_from(f"{order}3I", head.ljust(at + 12, b"\0"), at)
        text, _ = _text(head.ljust(at + 12 + min(length, HEAD_SIZE), b"\0"), at + 12, min(length, HEAD_SIZE))
    except (struct.error, IndexError) as error:
        raise ValueError(f"a header of {len(head)} bytes") from error
    return Head(seconds * 10**9 + nanoseconds, frame, (height, width), text)


def _text(content: bytes, at: int, length: int) -> tuple[str, int]:
    """Return a text and where it ends; CDR counts a zero at its end."""
    if at + length > len(content):
        raise IndexError("ends inside a text")
    return content[at : at + length].rstrip(b"\0").decode("utf-8", "replace"), at + length
