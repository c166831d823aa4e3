"""Records of points (PCD, PLY, PointCloud2, arrays of numpy) read in blocks: nothing but their columns is in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO

import numpy as np

from cosmos_lidar.clips.blocks import blocks
from cosmos_lidar.clips.point_fields import PointFields, is_used
from cosmos_lidar.errors import DataError

_PIECE = 1 << 14  # bytes of a text that are words at the same time, which take ten times as many
_AXES = ("x", "y", "z")

Fill = Callable[[np.ndarray], None]


def read_records(
    fill: Fill, dtype: np.dtype, count: int, shape: tuple[int, int] | None = None, *, used: bool = False
) -> PointFields:
    """Return the fields of records as columns in the byte order of this machine.

    Args:
        fill: fills an array (n,) of ``dtype`` with the next records.
        dtype: structured, of a record.
        count: records; they have to be there, as that many are allocated.
        shape: of an organized cloud.
        used: leave out fields that a sweep has no use for, where x, y and z are there.

    Raises:
        DataError: of ``fill``.
    """
    columns, points = _room(dtype, count, used)
    buffer = np.empty(min(count, _block(count)), dtype)
    for part in blocks(count, _block(count)):
        rows = buffer[: part.stop - part.start]
        fill(rows)
        for name, column in columns.items():
            column[part] = rows[name]
    return PointFields(columns, shape, points, owned=True)


def read_columns(
    fill: Fill, dtype: np.dtype, count: int, shape: tuple[int, int] | None = None, *, used: bool = False
) -> PointFields:
    """Return the fields of records of which each field is stored by itself, one after the other.

    Args:
        fill: fills an array (n,) or (n, k) with the next numbers.
        dtype: as are the others those of :func:`read_records`.
        count: records.
        shape: of an organized cloud.
        used: leave out fields that a sweep has no use for.

    Raises:
        DataError: of ``fill``.
    """
    columns, points = _room(dtype, count, used)
    for name in dtype.names or ():
        one = dtype[name]
        buffer = np.empty((min(count, _block(count)), *one.shape), one.base)
        for part in blocks(count, _block(count)):
            rows = buffer[: part.stop - part.start]
            fill(rows)
            if name in columns:
                columns[name][part] = rows
    return PointFields(columns, shape, points, owned=True)


def from_pieces(pieces: Iterator[bytes]) -> Fill:
    """Return what fills arrays with the bytes of pieces, one after the other, and looks for the end of the last.

    The result raises a DataError where they end early, and what ``pieces`` raises.
    """
    waiting = [memoryview(b"")]

    def fill(rows: np.ndarray) -> None:
        room = rows.reshape(-1).view(np.uint8)
        filled = 0
        while filled < len(room):
            if not len(waiting[0]):
                waiting[0] = memoryview(next(pieces, b""))
                if not len(waiting[0]):
                    raise DataError("it ends early", wanted="a complete file")
            part = waiting[0][: len(room) - filled]
            room[filled : filled + len(part)] = np.frombuffer(part, np.uint8)
            filled += len(part)
            waiting[0] = waiting[0][len(part) :]

    return fill


def from_stream(stream: IO[bytes]) -> Fill:
    """Return what fills records with the next bytes of a stream.

    The result raises a DataError where the stream ends early.
    """

    def fill(rows: np.ndarray) -> None:
        room = memoryview(rows.view(np.uint8).data)
        filled = 0
        while filled < len(room):
            found = _read_into(stream, room[filled:])
            if not found:
                raise DataError("it has become shorter", wanted="a complete copy of the file")
            filled += found

    return fill


def _read_into(stream: IO[bytes], room: memoryview) -> int:
    """Fill as much of ``room`` as a stream gives; returns how much."""
    if hasattr(stream, "readinto"):
        return int(stream.readinto(room))
    content = stream.read(len(room))  # of a blob of SQLite
    room[: len(content)] = content
    return len(content)


def read_text_records(
    stream: IO[bytes],
    dtype: np.dtype,
    count: int,
    shape: tuple[int, int] | None = None,
    *,
    skipped: int = 0,
    called: str = "field",
    used: bool = False,
) -> PointFields:
    """Return the fields of records that are written as numbers between white space; of integer fields exactly.

    Args:
        stream: at the first number.
        dtype: structured, of a record.
        count: records, at least one byte of the stream for each of their numbers.
        shape: of an organized cloud.
        skipped: numbers before the first record.
        called: what the format calls a field, for messages.
        used: as :func:`read_records`.

    Raises:
        DataError: fewer numbers, or words that are none of the type; ``key`` is the field.
    """
    columns, points = _room(dtype, count, used)
    places, width = {}, 0
    for name in dtype.names or ():
        places[name] = width
        width += dtype[name].itemsize // dtype[name].base.itemsize
    words: list[bytes] = []
    done, rest, open_end = 0, b"", True
    while done < count:
        if len(words) >= width:
            part = slice(done, min(done + len(words) // width, count))
            used_words = (part.stop - part.start) * width
            for name, column in columns.items():
                _fill_text(column[part], words[:used_words], places[name], width, f"{called} {name}")
            words, done = words[used_words:], part.stop
            continue
        if not open_end:
            found = done * width + len(words)
            raise DataError(f"{found} numbers, {count} records need {count * width}", wanted="a complete file")
        piece = stream.read(_PIECE)
        open_end = bool(piece)
        text = rest + piece
        more = text.split()
        rest = more.pop() if more and open_end and not text[-1:].isspace() else b""
        if len(rest) > _PIECE:
            raise DataError(f"a word of more than {_PIECE} bytes", wanted="numbers")
        left_out = min(skipped, len(more))
        skipped -= left_out
        words += more[left_out:]
    return PointFields(columns, shape, points, owned=True)


def _block(count: int) -> int:
    """Return the records of a block: a sixteenth of them, as they lie beside their columns, 2048 to 16384."""
    return max(min(count // 16, 1 << 14), 1 << 11)


def _room(dtype: np.dtype, count: int, used: bool) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Return a column for each field, and the table of which x, y and z are columns where they are float32."""
    names = dtype.names or ()
    if used and all(axis in names for axis in _AXES):
        names = tuple(name for name in names if dtype[name].shape == () and is_used(name))
    single = all(axis in names and dtype[axis].newbyteorder("=") == np.float32 for axis in _AXES)
    points = np.empty((count, 3), np.float32) if single else None
    columns = {}
    for name in names:
        if points is not None and name in _AXES:
            columns[name] = points[:, _AXES.index(name)]
        else:
            columns[name] = np.empty((count, *dtype[name].shape), dtype[name].base.newbyteorder("="))
    return columns, points


def _fill_text(column: np.ndarray, words: list[bytes], place: int, width: int, key: str) -> None:
    values = column.reshape(len(column), -1)
    for number in range(values.shape[1]):
        chosen = words[place + number :: width]
        try:
            if column.dtype.kind == "f":
                with np.errstate(over="ignore"):
                    values[:, number] = np.array(list(map(float, chosen)), np.float64)
            else:
                values[:, number] = np.array(list(map(int, chosen)), column.dtype)
        except (ValueError, OverflowError) as error:
            raise DataError(f"no {column.dtype.name}: {error!s:.80}", key=key) from error
