"""Tables of FlatBuffers, read by the numbers of their fields; every place is compared with the size of the buffer.

A table starts with the distance back to its list of field places; places of texts, vectors and tables are distances
forward. All numbers are little-endian (FlatBuffers internals).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np


class BrokenBufferError(Exception):
    """A place outside of the buffer."""


@dataclass(frozen=True)
class Table:
    """A table of a buffer.

    Attributes:
        data: the buffer: bytes, memoryview or mmap.
        at: where it starts.
        end: where the buffer ends.
    """

    data: Any
    at: int
    end: int

    def number(self, field: int, kind: str, default: int = 0) -> int:
        """Return an integer field, of a letter of :mod:`struct`."""
        place = self._place(field)
        return default if place is None else int(self._unpack(kind, place))

    def text(self, field: int) -> str:
        """Return a text field; empty where it is not there."""
        return bytes(self.raw(field)).decode("utf-8", "replace")

    def raw(self, field: int) -> Any:
        """Return a field of bytes; empty where it is not there."""
        start, count = self.vector(field, 1)
        return self.data[start : start + count]

    def array(self, field: int, dtype: str) -> np.ndarray:
        """Return a copy of a field of numbers, or of structs of a dtype; empty where it is not there."""
        kind = np.dtype(dtype)
        start, count = self.vector(field, kind.itemsize)
        return np.frombuffer(bytes(self.data[start : start + count * kind.itemsize]), kind)

    def structs(self, field: int, size: int) -> list[bytes]:
        """Return the structs of a field, so many bytes each."""
        start, count = self.vector(field, size)
        return [bytes(self.data[start + k * size : start + (k + 1) * size]) for k in range(count)]

    def tables(self, field: int) -> list[Table]:
        """Return the tables of a field."""
        start, count = self.vector(field, 4)
        return [self._table(start + 4 * place) for place in range(count)]

    def _table(self, at: int) -> Table:
        found = Table(self.data, at + self._unpack("I", at), self.end)
        found._fields()
        return found

    def _fields(self) -> tuple[int, int]:
        """Return where the list of field places is, and its size."""
        start = self.at - self._unpack("i", self.at)
        size = self._unpack("H", start)
        if size < 4 or start + size > self.end:
            raise BrokenBufferError(f"a list of fields of {size} bytes at {start}")
        return start, size

    def _place(self, field: int) -> int | None:
        start, size = self._fields()
        if 4 + 2 * field + 2 > size:
            return None
        offset = self._unpack("H", start + 4 + 2 * field)
        return self.at + offset if offset else None

    def vector(self, field: int, size: int) -> tuple[int, int]:
        """Return where the items of a vector start, and how many there are."""
        place = self._place(field)
        if place is None:
            return self.at, 0
        at = place + self._unpack("I", place)
        count = self._unpack("I", at)
        if at + 4 + count * size > self.end:
            raise BrokenBufferError(f"{count} items of {size} bytes at {at} of {self.end}")
        return at + 4, count

    def _unpack(self, kind: str, at: int) -> int:
        if at < 0 or at + struct.calcsize(f"<{kind}") > self.end:
            raise BrokenBufferError(f"place {at} of {self.end}")
        return struct.unpack_from(f"<{kind}", self.data, at)[0]


def root(data: Any, at: int = 0, end: int | None = None) -> Table:
    """Return the root of a buffer that has its size before it.

    Args:
        data: bytes, memoryview or mmap.
        at: where the size is.
        end: where the data end; default all.

    Raises:
        BrokenBufferError: it does not lie in the data.
    """
    end = len(data) if end is None else end
    if at < 0 or at + 8 > end:
        raise BrokenBufferError(f"a buffer at {at} of {end}")
    (size,) = struct.unpack_from("<I", data, at)
    if at + 4 + size > end or size < 8:
        raise BrokenBufferError(f"a buffer of {size} bytes at {at} of {end}")
    return Table(data, at + 4, at + 4 + size)._table(at + 4)
