"""Reading of ``.npy`` and ``.npz``: no Python objects; sizes are compared with the file before allocation."""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO

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


def read_npy(source: Path | bytes, limit: int | None = None) -> np.ndarray:
    """Return the array of a ``.npy`` file; of a path, its content is not held beside the array.

    Args:
        source: the file, or its content.
        limit: bytes that the array may have; default :data:`~cosmos_lidar.bounds.LARGEST_ITEM`.

    Raises:
        DataError: not such a file, Python objects, fewer bytes than its header promises, or more than the limit.
        OSError: a path cannot be opened.
    """
    if isinstance(source, bytes):
        return _read_whole(io.BytesIO(source), len(source), limit)
    expect_plain_file(source)
    with source.open("rb") as stream:
        try:
            return _read_whole(stream, source.stat().st_size, limit)
        except DataError as error:
            raise error.at(file=source) from error


def _read_whole(stream: IO[bytes], size: int, limit: int | None) -> np.ndarray:
    try:
        return _read(stream, size, limit)
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
    try:
        if file is not None:
            expect_plain_file(file)
        with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            wanted = list(members) if names is None else [name for name in names if name in members]
            total = sum(members[name].file_size for name in wanted)
            expect_size(total, f"the arrays {', '.join(wanted)}"[:120], limit=limit, file=file)
            for name in wanted:
                found[name] = _read_member(archive, members[name], limit)
    except DataError as error:
        raise error.at(file=file) from error
    except BROKEN_ARRAY as error:
        raise DataError(
            f"not a readable npz: {error!s:.200}", file=file, wanted="npz without Python objects"
        ) from error
    return found


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int | None) -> np.ndarray:
    name = info.filename.removesuffix(".npy")
    if info.compress_type not in _PACKED:
        raise DataError(f"compressed by method {info.compress_type}", key=name, wanted="stored or deflated members")
    try:
        with archive.open(info) as stream:
            return _read(stream, info.file_size, limit)
    except DataError as error:
        raise error.at(key=name) from error


def _read(stream: IO[bytes], size: int, limit: int | None) -> np.ndarray:
    """Read an array of a stream of ``size`` bytes; at most that many are allocated."""
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
    array = _fill(stream, np.empty(promised, np.uint8)).view(dtype)
    while stream.read(_PIECE):  # the checksum of a zip member is compared at its end
        pass
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


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
