"""PCD files of the Point Cloud Library: ascii, binary and binary_compressed, versions 0.5 to 0.7.

``VIEWPOINT`` is not applied: points stay in the axes of the file. Fields named ``_`` are padding.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from cosmos_lidar.bounds import expect_plain_file, expect_size
from cosmos_lidar.clips.point_fields import PointFields
from cosmos_lidar.clips.point_formats._lzf import unpacked
from cosmos_lidar.clips.point_records import from_pieces, from_stream, read_columns, read_records, read_text_records
from cosmos_lidar.errors import DataError

EXTENSIONS = (".pcd",)
_WANTED = "a PCD file of version 0.5 to 0.7"
_VERSIONS = (".5", "0.5", ".6", "0.6", ".7", "0.7")
_DTYPES = {**{f"{kind}{size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)},
           "F4": "<f4", "F8": "<f8"}  # fmt: skip
_TEXT_SIZE = 16  # bytes in memory per byte of a number while ascii is read
_LONGEST_HEADER, _MOST_FIELDS, _MOST_VALUES = 1 << 16, 256, 1 << 16


@dataclass(frozen=True)
class _Header:
    dtype: np.dtype
    shape: tuple[int, int]
    data: str
    size: int  # of the header

    @property
    def points(self) -> int:
        return self.shape[0] * self.shape[1]

    @property
    def organized(self) -> tuple[int, int] | None:
        return self.shape if min(self.shape) > 1 else None


def read(path: Path, clip: str | None = None, *, used: bool = False) -> PointFields:
    """Return the fields of a PCD file.

    Args:
        path: of it.
        clip: for messages.
        used: leave out fields that a sweep has no use for.

    Raises:
        DataError: no such file, truncated, of another version, or larger than the limit.
    """
    expect_plain_file(path, clip)
    file_size = path.stat().st_size
    expect_size(file_size, "a PCD file", file=path, clip=clip)
    try:
        with path.open("rb") as file:
            header = _header(file.read(_LONGEST_HEADER))
            size = header.points * header.dtype.itemsize * (_TEXT_SIZE if header.data == "ascii" else 1)
            expect_size(size, f"{header.points} points", file=path, clip=clip, key="POINTS")
            file.seek(header.size)
            fields = _READERS[header.data](file, header, file_size - header.size, used)
    except DataError as error:
        raise error.at(file=path, clip=clip, wanted=error.wanted or _WANTED) from error
    for name in [name for name in fields.columns if name.startswith("_")]:
        del fields.columns[name]
    return fields


def _header(content: bytes) -> _Header:
    found: dict[str, list[str]] = {}
    at = 0
    while "DATA" not in found:
        end = content.find(b"\n", at, _LONGEST_HEADER)
        if end < 0:
            raise DataError("no header" if not found else "the header has no DATA line", key="DATA")
        words = content[at:end].decode("ascii", "replace").split()
        at = end + 1
        if words and not words[0].startswith("#"):
            found[words[0].upper()] = words[1:]
    if found.get("VERSION", ["0.7"]) not in [[version] for version in _VERSIONS]:
        raise DataError(f"version {' '.join(found['VERSION'])}", key="VERSION")
    width = _number(found, "WIDTH" if "WIDTH" in found else "POINTS", 0)
    height = _number(found, "HEIGHT", 0) if "HEIGHT" in found else 1
    if "POINTS" in found and _number(found, "POINTS", 0) != height * width:
        raise DataError(f"{found['POINTS'][0]} points, {width} x {height} by WIDTH and HEIGHT", key="POINTS")
    data = " ".join(found["DATA"]).lower()
    if data not in _READERS:
        raise DataError(f"DATA {data!r:.40}, known are {', '.join(_READERS)}", key="DATA")
    return _Header(_dtype(found), (height, width), data, at)


def _number(found: dict[str, list[str]], key: str, place: int) -> int:
    words = found.get(key, [])
    if len(words) <= place or not words[place].isdecimal() or len(words[place]) > 12:
        raise DataError(f"{' '.join(words)!r:.40}, no number", key=key)
    return int(words[place])


def _dtype(found: dict[str, list[str]]) -> np.dtype:
    names = found.get("FIELDS") or found.get("COLUMNS") or []
    if not names or len(names) > _MOST_FIELDS:
        raise DataError(f"{len(names)} fields", key="FIELDS")
    types, sizes, counts = found.get("TYPE", []), found.get("SIZE", []), found.get("COUNT", ["1"] * len(names))
    for key, words in (("TYPE", types), ("SIZE", sizes), ("COUNT", counts)):
        if len(words) != len(names):
            raise DataError(f"{len(words)} for {len(names)} fields", key=key)
    fields: list[tuple[str, str, tuple[int, ...]]] = []
    for place, name in enumerate(names):
        kind = f"{types[place].upper()}{sizes[place]}"
        count = _number({"COUNT": counts}, "COUNT", place)
        if kind not in _DTYPES:
            raise DataError(f"field {name} of type {types[place]} with {sizes[place]} bytes", key="TYPE")
        if not 0 < count <= _MOST_VALUES:
            raise DataError(f"{count} values of field {name}", key="COUNT")
        fields.append((f"_{place}" if name == "_" else name, _DTYPES[kind], (count,) if count > 1 else ()))
    if len({name for name, _, _ in fields}) < len(fields):
        raise DataError(f"a field twice: {' '.join(names)}", key="FIELDS")
    return np.dtype(fields)


def _read_binary(file: IO[bytes], header: _Header, left: int, used: bool) -> PointFields:
    needed = header.points * header.dtype.itemsize
    if left < needed:
        raise DataError(f"{left} of {needed} bytes of {header.points} points", key="DATA")
    return read_records(from_stream(file), header.dtype, header.points, header.organized, used=used)


def _read_compressed(file: IO[bytes], header: _Header, left: int, used: bool) -> PointFields:
    """Return the fields, which are stored one after the other, packed together by LZF."""
    needed = header.points * header.dtype.itemsize
    if not needed:
        return _read_binary(file, header, 0, used)
    if left < 8:
        raise DataError(f"{left} of 8 bytes of its sizes", key="DATA")
    packed, size = struct.unpack("<II", file.read(8))
    if size != needed:
        raise DataError(f"{size} bytes unpacked, {header.points} points need {needed}", key="DATA")
    if left < 8 + packed:
        raise DataError(f"{left - 8} of {packed} packed bytes", key="DATA")
    try:
        fill = from_pieces(unpacked(file, packed, size))
        return read_columns(fill, header.dtype, header.points, header.organized, used=used)
    except ValueError as error:
        raise DataError(f"LZF does not unpack it: {error}", key="DATA") from error


def _read_ascii(file: IO[bytes], header: _Header, left: int, used: bool) -> PointFields:
    width = sum(one.itemsize // one.base.itemsize for one in (header.dtype[name] for name in header.dtype.names or ()))
    if header.points * width > left:
        raise DataError(f"{left} bytes, {header.points} points need {header.points * width} numbers", key="DATA")
    try:
        return read_text_records(file, header.dtype, header.points, header.organized, used=used)
    except DataError as error:
        raise error.at(key=error.key or "DATA") from error


_READERS: dict[str, Callable[[IO[bytes], _Header, int, bool], PointFields]] = {
    "ascii": _read_ascii,
    "binary": _read_binary,
    "binary_compressed": _read_compressed,
}
