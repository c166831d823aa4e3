"""PointCloud2 messages read from the file itself: the head of one, then its points in blocks.

The fields come as `sensor_msgs/msg/PointCloud2` has them, in CDR (numbers at multiples of their size after the first 4
bytes, which state the byte order) or as ROS 1 packs them (without gaps): header, height, width, fields (name, offset,
datatype, count), is_bigendian, point_step, row_step, data, is_dense.
"""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any, BinaryIO

from cosmos_lidar.clips.point_fields import PointFields
from cosmos_lidar.clips.point_records import from_stream, read_records
from cosmos_lidar.clips.readers.rosbag.messages import MOST_FIELDS, point_dtype

_HEAD = 1 << 13  # bytes: a frame and a dozen fields take some hundred


def read_cloud(stream: BinaryIO, size: int, encoding: str) -> PointFields | None:
    """Return the fields of a message that a sweep has a use for; None for a message that has to be looked at whole.

    That is one with padded rows, without a point, or broken: :func:`messages.parse` raises the error that names what is
    wrong.

    Args:
        stream: at the first byte of the message.
        size: its bytes.
        encoding: ``cdr`` or ``ros1``.

    Raises:
        DataError: fields that do not fit into a point, or the file has become shorter.
    """
    start = stream.tell()
    try:
        head = _Head(stream.read(min(size, _HEAD)), encoding)
        message = head.message()
    except (struct.error, IndexError, UnicodeDecodeError):
        return None
    count = message.height * message.width
    needed = count * message.point_step
    padded = message.height > 1 and message.row_step != message.width * message.point_step
    if padded or not count or message.bytes < needed or head.at + message.bytes + 1 != size:
        return None
    dtype = point_dtype(message, message.point_step)
    stream.seek(start + head.at)
    organized = (message.height, message.width) if min(message.height, message.width) > 1 else None
    return read_records(from_stream(stream), dtype, count, organized, used=True)


class _Head:
    """The start of a message, and how far it has been read."""

    def __init__(self, content: bytes, encoding: str) -> None:
        self.content, self.cdr = content, encoding == "cdr"
        self.order = "<" if not self.cdr or content[1] & 1 else ">"
        self.at = 4 if self.cdr else 0

    def message(self) -> Any:
        """Return its fields up to the length of its data, ``bytes``."""
        for _ in range(2 if self.cdr else 3):  # seq in ROS 1, seconds, nanoseconds
            self.integer()
        self.text()
        height, width, count = self.integer(), self.integer(), self.integer()
        if count > MOST_FIELDS:
            raise IndexError
        fields = [self.field() for _ in range(count)]
        big, point_step, row_step, size = self.byte(), self.integer(), self.integer(), self.integer()
        return SimpleNamespace(height=height, width=width, fields=fields, is_bigendian=big, point_step=point_step,
                               row_step=row_step, bytes=size)  # fmt: skip

    def field(self) -> Any:
        return SimpleNamespace(name=self.text(), offset=self.integer(), datatype=self.byte(), count=self.integer())

    def byte(self) -> int:
        self.at += 1
        return self.content[self.at - 1]

    def integer(self) -> int:
        if self.cdr:
            self.at += -self.at % 4
        self.at += 4
        return int(struct.unpack_from(f"{self.order}I", self.content, self.at - 4)[0])

    def text(self) -> str:
        size = self.integer()
        self.at += size
        if self.at > len(self.content):
            raise IndexError
        content = self.content[self.at - size : self.at]
        return (content[:-1] if self.cdr else content).decode()
