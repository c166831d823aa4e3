"""Feather files (Arrow IPC): columns as numpy arrays, their uncompressed size compared before anything is allocated.

The layout is that of the Arrow columnar format: ``ARROW1``, two zeros, then a stream of messages. Each message has a
flatbuffer of metadata and a body of buffers; a compressed buffer starts with its uncompressed length, 8 bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.bounds import expect_size, read_file
from cosmos_lidar.errors import DataError
from cosmos_lidar.extras import require

_MAGIC = b"ARROW1\0\0"
_KINDS = {"number": "iuf", "integer": "iu", "text": "U"}
_HEADER_KIND, _HEADER, _BATCH_OF_DICTIONARY, _BUFFERS, _COMPRESSION = 1, 2, 1, 2, 3  # fields of the metadata
_RECORD_BATCH, _DICTIONARY_BATCH = 3, 2  # of the union MessageHeader
_BROKEN = (struct.error, ValueError, KeyError, IndexError, TypeError, OverflowError, NotImplementedError)


def read_feather(path: Path, columns: dict[str, str], clip: str | None = None) -> dict[str, np.ndarray]:
    """Return columns of a Feather (version 2) file.

    Args:
        path: the file.
        columns: name -> ``number``, ``integer`` or ``text``.
        clip: for messages.

    Returns:
        (N,) arrays by name, numbers in the dtype of the file.

    Raises:
        DataError: no such file, a column that is missing, of another type or with empty entries, or more bytes than
            :func:`~cosmos_lidar.bounds.largest_item`.
        UserError: pyarrow is not installed.
    """
    arrow = require("pyarrow")
    wanted = f"a Feather file with {', '.join(columns)}"
    try:
        content = read_file(path, "a Feather file", clip=clip)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=path, clip=clip, wanted=wanted) from error
    if not content.startswith(_MAGIC):
        found = "an empty file" if not content else f"starts with {content[:8]!r}"
        raise DataError(f"no Feather file of version 2: {found}", file=path, clip=clip, wanted=wanted)
    try:
        stream = arrow.py_buffer(content).slice(len(_MAGIC))
        size = sum(_sizes(arrow, stream))
        expect_size(size, "its columns", file=path, clip=clip)
        table = arrow.ipc.open_stream(stream).read_all()
        table.validate(full=True)
    except (*_BROKEN, OSError, arrow.ArrowException) as error:
        problem = f"not readable: {' '.join(str(error).split())!s:.120}"
        raise DataError(problem, file=path, clip=clip, wanted=wanted) from error
    del content, stream
    names, arrays = list(table.column_names), dict[str, np.ndarray]()
    for name, kind in columns.items():
        if names.count(name) != 1:
            problem = f"no such column among {', '.join(names)[:120]}"
            raise DataError(problem, file=path, clip=clip, key=name, wanted=wanted)
        arrays[name] = _column(table.column(name), name, kind, path, clip, wanted)
        table = table.remove_column(table.column_names.index(name))  # each is freed when it has been copied
    return arrays


def _column(column: Any, name: str, kind: str, path: Path, clip: str | None, wanted: str) -> np.ndarray:
    if column.null_count:
        raise DataError(f"{column.null_count} empty entries", file=path, clip=clip, key=name, wanted=wanted)
    problem, wanted = f"a column of type {column.type}", f"values of kind {kind}"
    try:
        values = np.array(column.to_pylist()) if kind == "text" else column.to_numpy()
    except _BROKEN as error:
        raise DataError(problem, file=path, clip=clip, key=name, wanted=wanted) from error
    if values.dtype.kind not in _KINDS[kind] and len(values):
        raise DataError(problem, file=path, clip=clip, key=name, wanted=wanted)
    return values


def _sizes(arrow: Any, stream: Any) -> Iterator[int]:
    """Yield the uncompressed bytes of every buffer of a stream of messages."""
    reader = arrow.ipc.MessageReader.open_stream(stream)
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            return
        metadata = bytes(message.metadata)
        root = _follow(metadata, 0)
        (kind,) = _field(metadata, root, _HEADER_KIND, "<B")
        if kind not in (_RECORD_BATCH, _DICTIONARY_BATCH):
            continue
        batch = _table(metadata, root, _HEADER)
        if kind == _DICTIONARY_BATCH:
            batch = _table(metadata, batch, _BATCH_OF_DICTIONARY)
        compressed = _place(metadata, batch, _COMPRESSION) is not None
        for offset, length in _buffers(metadata, batch):
            if compressed and length:
                (stated,) = struct.unpack_from("<q", message.body, offset)
                yield max(stated, length)
            else:
                yield length


def _buffers(metadata: bytes, batch: int) -> Iterator[tuple[int, int]]:
    """Yield offset and length in the body of every buffer of a record batch."""
    start = _table(metadata, batch, _BUFFERS)
    (count,) = struct.unpack_from("<I", metadata, start)
    for number in range(count):
        offset, length = struct.unpack_from("<qq", metadata, start + 4 + 16 * number)
        if offset < 0 or length < 0:
            raise ValueError(f"a buffer of {length} bytes at {offset}")
        yield offset, length


def _follow(metadata: bytes, place: int) -> int:
    (step,) = struct.unpack_from("<I", metadata, place)
    return place + int(step)


def _place(metadata: bytes, table: int, field: int) -> int | None:
    """Return where a field of a flatbuffer table lies; None for one that is not given."""
    (back,) = struct.unpack_from("<i", metadata, table)
    (size,) = struct.unpack_from("<H", metadata, table - back)
    at = 4 + 2 * field
    if at + 2 > size:
        return None
    (offset,) = struct.unpack_from("<H", metadata, table - back + at)
    return table + offset if offset else None


def _field(metadata: bytes, table: int, field: int, kind: str) -> tuple[int, ...]:
    place = _place(metadata, table, field)
    return (0,) if place is None else struct.unpack_from(kind, metadata, place)


def _table(metadata: bytes, table: int, field: int) -> int:
    place = _place(metadata, table, field)
    if place is None:
        raise ValueError(f"metadata without field {field}")
    return _follow(metadata, place)
