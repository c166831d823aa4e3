"""Waymo's compressed matrices: zlib data of a ``MatrixFloat`` or ``MatrixInt32`` message, unpacked within bounds.

Both have the values, row by row and packed, in field 1, and the shape in field 2. What is unpacked is limited by the
shape that is expected: a few bytes can promise terabytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosmos_lidar.bounds import expect_size
from cosmos_lidar.clips.inflate import INFLATE_ERRORS, decompressor
from cosmos_lidar.clips.protobuf import BYTES, BytesSource, Message, Source, decode_varint, decode_varints
from cosmos_lidar.errors import DataError

_PIECE, _LARGE_PIECE = 1 << 16, 1 << 17
_AROUND = 64  # bytes of tags, lengths and the shape
_LONGEST_VARINT = 10
_DATA, _SHAPE = 1, 2
_WANTED = "zlib data of a matrix, as the dataset has them"


@dataclass(frozen=True)
class Place:
    """Where a matrix lies, for error messages: file, clip, and record or field."""

    file: Path
    clip: str
    key: str

    def error(self, problem: str, wanted: str = _WANTED) -> DataError:
        """Return the error that names this place."""
        return DataError(problem, file=self.file, clip=self.clip, key=self.key, wanted=wanted)


def float_rows(
    source: Source, start: int, end: int, shape: tuple[int, ...], rows: int, place: Place
) -> Iterator[np.ndarray]:
    """Yield the float32 matrix of a shape by blocks of at most ``rows`` rows; no more than a block of it is held.

    Raises:
        DataError: damaged, another shape, or more data than the shape has room for.
    """
    limit = 4 * math.prod(shape) + _AROUND
    expect_size(limit, f"a matrix of shape {shape}", file=place.file, clip=place.clip, key=place.key)
    pieces = _limited(_pieces(source, start, end, place, _LARGE_PIECE), limit, shape, place)
    rest = b""
    while len(rest) < _AROUND and (piece := next(pieces, b"")):
        rest += piece
    size, used = _opening(rest, place)
    if size != 4 * math.prod(shape):
        raise place.error(f"shape {shape_of(source, start, end, place)}", f"shape {shape}")
    rest = rest[used:]
    for first in range(0, shape[0], rows):
        block = np.empty((min(rows, shape[0] - first), *shape[1:]), "<f4")
        rest = _fill(block.reshape(-1).view(np.uint8), rest, pieces, place)
        yield block
    after = Message.of(rest + b"".join(pieces), place.key, place.file)
    if _DATA in after.by_number:
        raise place.error("no packed values in one piece")
    found = _dims(after.message(_SHAPE, "shape"))
    if found != shape:
        raise place.error(f"shape {found}", f"shape {shape}")


def _limited(pieces: Iterator[bytes], limit: int, shape: tuple[int, ...], place: Place) -> Iterator[bytes]:
    for piece in pieces:
        limit -= len(piece)
        if limit < 0:
            raise place.error(f"more than the bytes of a matrix {shape}", f"a matrix of shape {shape}")
        yield piece


def _fill(room: np.ndarray, piece: bytes, pieces: Iterator[bytes], place: Place) -> bytes:
    """Fill (N,) bytes with a piece and those that follow it; return what is left of the last one."""
    filled = 0
    while True:
        taken = min(len(piece), len(room) - filled)
        room[filled : filled + taken] = np.frombuffer(piece, np.uint8, taken)
        filled += taken
        if filled == len(room):
            return piece[taken:]
        piece = next(pieces, b"")
        if not piece:
            raise place.error("values that are cut off")


def read_integers(content: bytes, shape: tuple[int, ...], place: Place) -> np.ndarray:
    """Return the int32 matrix of a shape; errors as of :func:`float_rows`."""
    count = math.prod(shape)
    unpacked = _unpack(content, _LONGEST_VARINT * count + _AROUND, shape, place)
    start, size = _values(unpacked, shape, place)
    values = decode_varints(np.frombuffer(unpacked, np.uint8, size, start), count)
    if values is None:
        raise place.error("not as many integers as its shape", f"{shape} integers")
    return values.reshape(shape)


def shape_of(source: Source, start: int, end: int, place: Place) -> tuple[int, ...]:
    """Return the shape of a compressed float matrix of unknown size; no more than 64 KB of it are held.

    Raises:
        DataError: damaged, or values that are not as many as the shape has.
    """
    head, tail, total = b"", b"", 0
    for piece in _pieces(source, start, end, place):
        head = head if len(head) >= _AROUND else head + piece[:_AROUND]
        tail, total = (tail + piece)[-_AROUND:], total + len(piece)
        expect_size(total, "a range image", file=place.file, clip=place.clip, key=place.key)
    size, used = _opening(head, place)
    rest = total - used - size
    if not 0 < rest <= min(_AROUND, len(tail)):
        raise place.error("not a matrix: values, then shape")
    shape = _dims(Message.of(tail[len(tail) - rest :], place.key, place.file))
    if 4 * math.prod(shape) != size:
        raise place.error(f"{size} bytes of values, shape {shape}")
    return shape


def first_floats(source: Source, start: int, end: int, count: int, place: Place) -> np.ndarray:
    """Return the first ``count`` values of a compressed float matrix, float32; no more of it is unpacked.

    Raises:
        DataError: damaged, or fewer values.
    """
    unpacked = bytearray()
    for piece in _pieces(source, start, end, place):
        unpacked += piece
        if len(unpacked) >= 4 * count + _LONGEST_VARINT + 1:
            break
    content = bytes(unpacked)
    size, used = _opening(content, place)
    if size < 4 * count or len(content) < used + 4 * count:
        raise place.error(f"fewer than {count} values")
    return np.frombuffer(content, "<f4", count, used)


def _opening(content: bytes, place: Place) -> tuple[int, int]:
    """Return the size of the packed values that a matrix starts with, bytes, and where they start."""
    try:
        tag, used = decode_varint(content, 0)
        if tag == _DATA << 3 | BYTES:
            return decode_varint(content, used)
    except ValueError:
        pass
    raise place.error("no packed values at its start")


def _pieces(source: Source, start: int, end: int, place: Place, largest: int = _PIECE) -> Iterator[bytes]:
    """Yield unpacked pieces of at most so many bytes."""
    engine, at = decompressor(), start
    try:
        while not engine.eof:
            fed = engine.unconsumed_tail
            if not fed:
                fed = source.read(at, min(largest // 4, end - at))
                at += len(fed)
            piece = engine.decompress(fed, largest)
            if not piece and not fed:
                raise place.error("zlib data that are cut off")
            if piece:
                yield piece
    except INFLATE_ERRORS as error:
        raise place.error(f"not zlib data: {error}") from error


def _unpack(content: bytes, limit: int, shape: tuple[int, ...], place: Place) -> bytes:
    expect_size(limit, f"a matrix of shape {shape}", file=place.file, clip=place.clip, key=place.key)
    engine = decompressor()
    try:
        unpacked = engine.decompress(content, limit)
    except INFLATE_ERRORS as error:
        raise place.error(f"not zlib data: {error}") from error
    if not engine.eof:
        more = len(unpacked) == limit
        problem = f"more than the {limit} bytes of a matrix {shape}" if more else "zlib data that are cut off"
        raise place.error(problem, f"a matrix of shape {shape}")
    return unpacked


def _values(unpacked: bytes, shape: tuple[int, ...], place: Place) -> tuple[int, int]:
    """Return where the packed values start, and their size in bytes, after a look at the shape."""
    message = Message(BytesSource(unpacked), 0, len(unpacked), place.key, place.file)
    fields = message.by_number.get(_DATA, [])
    if len(fields) != 1 or fields[0].wire != BYTES:
        raise place.error("no packed values")
    found = _dims(message.message(_SHAPE, "shape"))
    if found != shape:
        raise place.error(f"shape {found}", f"shape {shape}")
    return fields[0].start, fields[0].end - fields[0].start


def _dims(message: Message | None) -> tuple[int, ...]:
    """Return the dims of a ``MatrixShape``, or of the field 2 that holds one."""
    if message is None:
        return ()
    inner = message.message(_SHAPE, "shape") if _SHAPE in message.by_number else message
    return tuple((inner or message).integers(1, "dims", 8))
