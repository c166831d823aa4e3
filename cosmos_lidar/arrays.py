"""Reading of ``.npy`` and ``.npz``: no Python objects; sizes are compared with the file before allocation."""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from cosmos_lidar.bounds import expect_plain_file, expect_size
from cosmos_lidar.errors import DataError

# A broken .npz shows itself in its zip directory, its compressed bytes, its header text or its dtype.
BROKEN_ARRAY = (
    DataError,
    ValueError,
    OSError,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    OverflowError,
    NotImplementedError,
    SyntaxError,
    RecursionError,
    MemoryError,
    RuntimeError,  # an encrypted member
    struct.error,
    tokenize.TokenError,
    zlib.error,
    zipfile.BadZipFile,
)
_PLAIN = "biufcSU"  # kinds of dtypes: booleans, integers, floats, complex numbers, texts
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others unpack without a limit
_PIECE = 1 << 16
_EXPECTED = "an array that numpy.save wrote, of numbers or texts"


class ArrayStream(NamedTuple):
    """An array that has not been read yet.

    Attributes:
        shape: of it.
        dtype: of plain numbers or texts.
        fortran: whether its first index is the fastest.
        stream: at its first byte.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    stream: IO[bytes]


def read_npy(source: Path | bytes, limit: int | None = None) -> np.ndarray:
    """Return the array of a ``.npy`` file; of a path, its content is not held beside the array.

    Args:
        source: the file, or its content.
        limit: bytes that the array may have; default :data:`~cosmos_lidar.bounds.LARGEST_ITEM`.

    Raises:
        DataError: not such a file, Python objects, fewer bytes than its header promises, or more than the limit.
        OSError: a path cannot be opened.
    """
    opened = (
        _opened_npy(io.BytesIO(source), len(source), limit) if isinstance(source, bytes) else open_npy(source, limit)
    )
    with opened as found:
        return rest_of(found)


@contextmanager
def _opened_npy(stream: IO[bytes], size: int, limit: int | None) -> Iterator[ArrayStream]:
    try:
        yield _header(stream, size, limit)
    except DataError:
        raise
    except BROKEN_ARRAY as error:
        raise DataError(f"not a readable array: {error!s:.200}", wanted=_EXPECTED) from error


def read_npz(
    source: Path | bytes, names: Iterable[str] | None = None, limit: int | None = None
) -> dict[str, np.ndarray]:
    """Return arrays of a ``.npz`` file by name; of several ``names`` those that are there.

    Args:
        source: the file, or its content.
        names: which ones; default all.
        limit: bytes that they may have together; default :data:`~cosmos_lidar.bounds.LARGEST_ITEM`.

    Raises:
        DataError: not such a file, Python objects, or larger than the limit; ``key`` is the name of the array.
    """
    found: dict[str, np.ndarray] = {}
    file = source if isinstance(source, Path) else None
    with _opened(source) as archive:
        members = _members(archive)
        wanted = list(members) if names is None else [name for name in names if name in members]
        total = sum(members[name].file_size for name in wanted)
        expect_size(total, f"the arrays {', '.join(wanted)}"[:120], limit=limit, file=file)
        for name in wanted:
            found[name] = _read_member(archive, members[name], limit)
    return found


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int | None) -> np.ndarray:
    with _open_member(archive, info, limit) as found:
        return rest_of(found)


@contextmanager
def open_npy(path: Path, limit: int | None = None) -> Iterator[ArrayStream]:
    """Open the array of a ``.npy`` file, to be read from its stream piece by piece; raises as :func:`read_npy`."""
    expect_plain_file(path)
    with path.open("rb") as stream:
        try:
            with _opened_npy(stream, path.stat().st_size, limit) as found:
                yield found
        except DataError as error:
            raise error.at(file=path) from error


@contextmanager
def open_npz_member(path: Path, name: str, limit: int | None = None) -> Iterator[ArrayStream]:
    """Open an array of a ``.npz`` file, to be read from its stream piece by piece.

    Its checksum is compared when it is closed. The name is a KeyError where there is no such array.

    Raises:
        DataError: as :func:`read_npz`.
    """
    with _opened(path) as archive:
        members = _members(archive)
        expect_size(members[name].file_size, f"the array {name}", limit=limit, file=path, key=name)
        with _open_member(archive, members[name], limit) as found:
            yield found
            _drain(found.stream)


def npz_headers(path: Path, limit: int | None = None) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Return shape and dtype of each array of a ``.npz`` file, by name; raises as :func:`read_npz`."""
    found = {}
    with _opened(path) as archive:
        for name, info in _members(archive).items():
            with _open_member(archive, info, limit) as one:
                found[name] = one.shape, one.dtype
    return found


def write_npz(file: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays of numbers as ``numpy.savez`` does, byte for byte, without its copy of up to 16 MB."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            whole = np.ascontiguousarray(array)
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array_header_1_0(member, np.lib.format.header_data_from_array_1_0(whole))
                content = whole.reshape(-1).view(np.uint8)
                for first in range(0, len(content), _PIECE):
                    member.write(content[first : first + _PIECE].data)


def row_blocks(found: ArrayStream, rows: int) -> Iterator[np.ndarray]:
    """Yield an opened array in blocks of at most so many rows of its first axis; each is overwritten by the next.

    Raises:
        DataError: it ends early.
    """
    if found.fortran:
        whole = rest_of(found)
        yield from (whole[first : first + rows] for first in range(0, len(whole), rows))
        return
    buffer = np.empty((min(rows, found.shape[0]), *found.shape[1:]), found.dtype)
    for first in range(0, found.shape[0], rows):
        part = buffer[: min(rows, found.shape[0] - first)]
        _fill(found.stream, part.reshape(-1).view(np.uint8))
        yield part


@contextmanager
def _opened(source: Path | bytes) -> Iterator[zipfile.ZipFile]:
    file = source if isinstance(source, Path) else None
    try:
        if file is not None:
            expect_plain_file(file)
        with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
            yield archive
    except DataError as error:
        raise error.at(file=file) from error
    except BROKEN_ARRAY as error:
        problem, wanted = f"not a readable npz: {error!s:.200}", "npz without Python objects"
        raise DataError(problem, file=file, wanted=wanted) from error


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    return {info.filename.removesuffix(".npy"): info for info in archive.infolist()}


@contextmanager
def _open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int | None) -> Iterator[ArrayStream]:
    name = info.filename.removesuffix(".npy")
    if info.compress_type not in _PACKED:
        raise DataError(f"compressed by method {info.compress_type}", key=name, wanted="stored or deflated members")
    try:
        with archive.open(info) as stream:
            yield _header(stream, info.file_size, limit)
    except DataError as error:
        raise error.at(key=error.key or name) from error


def _drain(stream: IO[bytes]) -> None:
    """Read to the end, where the checksum of a zip member is compared."""
    while stream.read(_PIECE):
        pass


def _header(stream: IO[bytes], size: int, limit: int | None) -> ArrayStream:
    """Read the header of an array of a stream of ``size`` bytes, which promises at most that many."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"version {version}")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read_header(stream)
    if dtype.hasobject or dtype.kind not in _PLAIN or not dtype.itemsize or dtype.subdtype is not None:
        raise DataError(f"an array of {'Python objects' if dtype.hasobject else dtype}", wanted=_EXPECTED)
    if any(length < 0 for length in shape):
        raise DataError(f"shape {shape}", wanted=_EXPECTED)
    promised = math.prod(shape) * dtype.itemsize
    expect_size(promised, f"an array of shape {shape}", limit=limit)
    if promised > size:
        raise DataError(f"shape {shape} of {dtype} needs {promised} bytes, the file has {size}", wanted=_EXPECTED)
    return ArrayStream(shape, dtype, fortran, stream)


def rest_of(found: ArrayStream) -> np.ndarray:
    """Return an opened array, and compare its checksum where it has one; raises as :func:`read_npz`."""
    size = math.prod(found.shape) * found.dtype.itemsize
    array = _fill(found.stream, np.empty(size, np.uint8)).view(found.dtype)
    _drain(found.stream)
    return array.reshape(found.shape[::-1]).T if found.fortran else array.reshape(found.shape)


def _fill(stream: IO[bytes], room: np.ndarray) -> np.ndarray:
    """Return ``room`` (N,) uint8 filled piece by piece, so that no second copy of an array is held."""
    filled = 0
    while filled < len(room):
        piece = stream.read(min(_PIECE, len(room) - filled))
        if not piece:
            raise DataError(f"{filled} of {len(room)} bytes", wanted="a complete file")
        room[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
        filled += len(piece)
    return room
