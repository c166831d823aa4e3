"""Protocol-buffer wire format without generated classes: walk the fields of a message by number.

A message is a row of fields, each a tag (field number and wire type) and a value: a varint, 4 or 8 bytes, or bytes of
a stated length (texts, messages, packed numbers). Source: protobuf.dev, "Encoding". Values are not copied before they
are asked for, so that a message of many megabytes in a file is walked by reading a few bytes of it. Groups, which
proto2 deprecated, are refused.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from cosmos_lidar.bounds import expect_size
from cosmos_lidar.errors import DataError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_NAMES = {VARINT: "varint", FIXED64: "64-bit", BYTES: "length-delimited", FIXED32: "32-bit"}
_HEAD = 20  # two varints of ten bytes
_BLOCK = 4096
_MOST_BYTES = 10  # of a varint
_BYTES_AT_ONCE = 1 << 15  # of packed varints, so that places of numbers stay in the cache
_WANTED = "a complete protocol-buffer message"


class Source(Protocol):
    """What a message lies in."""

    def read(self, start: int, size: int) -> bytes:
        """Return ``size`` bytes from ``start``, fewer at the end."""


class BytesSource:
    """A message in memory."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, start: int, size: int) -> bytes:
        """Return ``size`` bytes from ``start``, fewer at the end."""
        return self.content[start : start + size]


class FileSource:
    """An open file, read at any place; a context manager. Small reads come from the last block of 4096 bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = os.open(path, os.O_RDONLY)
        self._at, self._block = 0, b""

    def __enter__(self) -> FileSource:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def read(self, start: int, size: int) -> bytes:
        """Return ``size`` bytes from ``start``, fewer at the end of the file."""
        if size > _BLOCK:
            return os.pread(self._handle, size, start)
        offset = start - self._at
        if offset < 0 or offset + size > len(self._block):
            self._at, offset = start, 0
            self._block = os.pread(self._handle, _BLOCK, start)
        return self._block[offset : offset + size]


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: of the field.
        wire: wire type.
        start: of the value in the source.
        end: of the value in the source.
        value: of a varint; 0 for the others.
    """

    number: int
    wire: int
    start: int
    end: int
    value: int


class Message:
    """The fields of a message between two places of a source.

    Args:
        source: that holds it.
        start: of the message.
        end: of the message.
        name: for error messages, such as ``record 3: Frame``.
        file: for error messages.

    Methods named after a type return the last field of that number, as the format prescribes, and None where the
    message has none. All raise :class:`~cosmos_lidar.errors.DataError` for a broken message and a wrong wire type.
    """

    def __init__(self, source: Source, start: int, end: int, name: str, file: Path | None = None) -> None:
        self.source, self.start, self.end, self.name, self.file = source, start, end, name, file

    @classmethod
    def of(cls, content: bytes, name: str, file: Path | None = None) -> Message:
        """Return the message that ``content`` holds."""
        return cls(BytesSource(content), 0, len(content), name, file)

    def __iter__(self) -> Iterator[Field]:
        at, end, read = self.start, self.end, self.source.read
        while at < end:
            head = read(at, min(_HEAD, end - at))
            tag, used = self._varint(head, 0)
            number, wire, value = tag >> 3, tag & 7, 0
            start = at + used
            if wire == BYTES:
                size, used = self._varint(head, used)
                start = at + used
                stop = start + size
            elif wire == VARINT:
                value, used = self._varint(head, used)
                stop = at + used
            elif wire in (FIXED32, FIXED64):
                stop = start + (4 if wire == FIXED32 else 8)
            else:
                self._complain(f"wire type {wire} at byte {at}")
            if number == 0:
                self._complain(f"field number 0 at byte {at}")
            if stop > end:
                self._complain(f"field {number} of {stop - start} bytes reaches {stop - end} bytes beyond the message")
            yield Field(number, wire, start, stop, value)
            at = stop

    @cached_property
    def by_number(self) -> dict[int, list[Field]]:
        """All fields by their number."""
        found: dict[int, list[Field]] = {}
        for field in self:
            found.setdefault(field.number, []).append(field)
        return found

    def integer(self, number: int, name: str) -> int | None:
        """Return an integer; negative ones are stored as 64-bit two's complement."""
        field = self._last(number, VARINT, name)
        return None if field is None else _signed(field.value)

    def double(self, number: int, name: str) -> float | None:
        """Return a double."""
        field = self._last(number, FIXED64, name)
        return None if field is None else struct.unpack("<d", self._content(field))[0]

    def text(self, number: int, name: str) -> str | None:
        """Return a text; bytes that are not UTF-8 are replaced."""
        field = self._last(number, BYTES, name)
        if field is None:
            return None
        expect_size(field.end - field.start, "a text", limit=1 << 16, file=self.file, key=self._key(name))
        return self._content(field).decode("utf-8", "replace")

    def message(self, number: int, name: str) -> Message | None:
        """Return a message inside this one."""
        field = self._last(number, BYTES, name)
        return None if field is None else self._inner(field, name)

    def messages(self, number: int, name: str) -> list[Message]:
        """Return all messages of a repeated field."""
        fields = self.by_number.get(number, ())
        return [self._inner(self._checked(one, BYTES, name), f"{name}[{k}]") for k, one in enumerate(fields)]

    def span(self, number: int, name: str) -> tuple[int, int] | None:
        """Return where the bytes of a field start and end; None where it has none or there are none."""
        field = self._last(number, BYTES, name)
        return None if field is None or field.start == field.end else (field.start, field.end)

    def doubles(self, number: int, name: str) -> np.ndarray:
        """Return (N,) float64 of a repeated field, packed or one by one."""
        fields = self.by_number.get(number, ())
        for field in fields:
            if field.wire not in (FIXED64, BYTES) or (field.end - field.start) % 8:
                self._complain(f"{_NAMES[field.wire]} field of {field.end - field.start} bytes", name, "doubles")
        total = sum(field.end - field.start for field in fields)
        expect_size(total, "a row of doubles", limit=1 << 20, file=self.file, key=self._key(name))
        return np.frombuffer(b"".join(self._content(field) for field in fields), "<f8")

    def integers(self, number: int, name: str, limit: int = 64) -> list[int]:
        """Return the integers of a short repeated field, packed or one by one; at most ``limit`` of them."""
        found: list[int] = []
        for field in self.by_number.get(number, ()):
            if field.wire == VARINT:
                found.append(_signed(field.value))
                continue
            content = self._content(self._checked(field, BYTES, name), limit * 10)
            at = 0
            while at < len(content):
                value, at = self._varint(content, at)
                found.append(_signed(value))
        if len(found) > limit:
            self._complain(f"{len(found)} integers", name, f"at most {limit}")
        return found

    def _last(self, number: int, wire: int, name: str) -> Field | None:
        fields = self.by_number.get(number)
        return self._checked(fields[-1], wire, name) if fields else None

    def _checked(self, field: Field, wire: int, name: str) -> Field:
        if field.wire != wire:
            problem = f"field {field.number} has wire type {field.wire} ({_NAMES[field.wire]})"
            self._complain(problem, name, f"wire type {wire} ({_NAMES[wire]})")
        return field

    def _inner(self, field: Field, name: str) -> Message:
        return Message(self.source, field.start, field.end, self._key(name), self.file)

    def _content(self, field: Field, limit: int = 1 << 20) -> bytes:
        size = field.end - field.start
        expect_size(size, "a field", limit=limit, file=self.file, key=self.name)
        content = self.source.read(field.start, size)
        if len(content) != size:
            self._complain(f"{len(content)} of {size} bytes of field {field.number}")
        return content

    def _varint(self, data: bytes, at: int) -> tuple[int, int]:
        try:
            return decode_varint(data, at)
        except ValueError as error:
            raise DataError(str(error), file=self.file, key=self.name, wanted=_WANTED) from error

    def _complain(self, problem: str, name: str = "", wanted: str = _WANTED) -> None:
        raise DataError(problem, file=self.file, key=self._key(name), wanted=wanted)

    def _key(self, name: str) -> str:
        return f"{self.name}.{name}" if name else self.name


def decode_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the unsigned 64-bit varint at ``at`` of ``data``, and where the next value starts.

    Raises:
        ValueError: it is cut off, or longer than ten bytes.
    """
    value = shift = 0
    for used in range(at, min(at + 10, len(data))):
        byte = data[used]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, used + 1
        shift += 7
    raise ValueError("a varint of more than ten bytes" if len(data) - at >= 10 else "a varint that is cut off")


def decode_varints(packed: np.ndarray, count: int) -> np.ndarray | None:
    """Return (count,) int32 of packed varints (bytes); None where they are not ``count`` whole varints of 32 bits.

    Negative numbers, ten bytes long, keep their low 32 bits.
    """
    if not len(packed) or packed[-1] >= 0x80 or not count <= len(packed) <= _MOST_BYTES * count:
        return np.zeros(0, np.int32) if not len(packed) and not count else None
    found, filled, start = np.empty(count, np.uint32), 0, 0
    while start < len(packed):
        part = packed[start : start + _BYTES_AT_ONCE]
        ends = np.flatnonzero(part < 0x80)
        if not len(ends) or filled + len(ends) > count:
            return None
        part = part[: ends[-1] + 1]  # the rest is of a number that goes on in the next part
        values = _varints(part, ends)
        if values is None:
            return None
        found[filled : filled + len(ends)] = values
        filled, start = filled + len(ends), start + len(part)
    return found.view(np.int32) if filled == count else None


def _varints(packed: np.ndarray, ends: np.ndarray) -> np.ndarray | None:
    """Return uint32 of the varints that end at ``ends``; None where one is longer than ten bytes."""
    if len(ends) == len(packed):
        return packed
    starts = np.empty_like(ends)
    starts[0], starts[1:] = 0, ends[:-1] + 1
    length = ends - starts
    if length.max() >= _MOST_BYTES:
        return None
    value = (packed[starts] & 0x7F).astype(np.uint32)
    longer = np.flatnonzero(length > 0)
    for position in range(1, 5):
        value[longer] |= (packed[starts[longer] + position] & 0x7F).astype(np.uint32) << np.uint32(7 * position)
        longer = longer[length[longer] > position]
        if not len(longer):
            break
    return value


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
