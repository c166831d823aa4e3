"""PLY files: the element ``vertex`` of ascii and binary ones of both byte orders, version 1.0."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosmos_lidar.bounds import expect_plain_file, expect_size
from cosmos_lidar.clips.point_fields import PointFields
from cosmos_lidar.clips.point_records import from_stream, read_records, read_text_records
from cosmos_lidar.errors import DataError

EXTENSIONS = (".ply",)
_WANTED = "a PLY file of version 1.0 with an element vertex"
_FORMATS = {"ascii": "<", "binary_little_endian": "<", "binary_big_endian": ">"}
_TYPES = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
          "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
          "float32": "f4", "float64": "f8", "int64": "i8", "uint64": "u8"}  # fmt: skip
_LONGEST_HEADER, _MOST_PROPERTIES = 1 << 16, 256
_TEXT_SIZE = 16  # bytes in memory per byte of a number while ascii is read


@dataclass
class _Element:
    name: str
    count: int
    properties: list[tuple[str, str]]
    has_list: bool = False


def read(path: Path, clip: str | None = None, *, used: bool = False) -> PointFields:
    """Return the properties of the vertices of a PLY file.

    Args:
        path: of it.
        clip: for messages.
        used: leave out properties that a sweep has no use for.

    Raises:
        DataError: no such file, truncated, of another version, without vertices, or larger than the limit.
    """
    expect_plain_file(path, clip)
    file_size = path.stat().st_size
    expect_size(file_size, "a PLY file", file=path, clip=clip)
    try:
        with path.open("rb") as file:
            format, elements, start = _header(file.read(_LONGEST_HEADER))
            before, vertex = _vertex(elements)
            dtype, skipped = _dtype(vertex, _FORMATS[format]), [_dtype(one, _FORMATS[format]) for one in before]
            size = vertex.count * dtype.itemsize * (_TEXT_SIZE if format == "ascii" else 1)
            expect_size(size, f"{vertex.count} vertices", file=path, clip=clip, key="element vertex")
            if format != "ascii":
                start += sum(one.count * kind.itemsize for one, kind in zip(before, skipped, strict=True))
                _expect_bytes(file_size - start, vertex, vertex.count * dtype.itemsize)
                file.seek(start)
                return read_records(from_stream(file), dtype, vertex.count, used=used)
            words_before = sum(one.count * len(one.properties) for one in before)
            _expect_bytes(file_size - start, vertex, vertex.count * len(vertex.properties))
            file.seek(start)
            return read_text_records(file, dtype, vertex.count, skipped=words_before, called="property", used=used)
    except DataError as error:
        key = error.key or "element vertex"
        raise error.at(file=path, clip=clip, key=key, wanted=error.wanted or _WANTED) from error


def _expect_bytes(left: int, vertex: _Element, needed: int) -> None:
    if left < needed:
        raise DataError(f"{max(0, left)} of {needed} bytes of {vertex.count} vertices", key="element vertex")


def _header(content: bytes) -> tuple[str, list[_Element], int]:
    """Return the format, the elements, and where the data start."""
    end = content.find(b"end_header", 0, _LONGEST_HEADER)
    start = content.find(b"\n", end) + 1
    if content[:3] != b"ply" or end < 0 or not start:
        raise DataError("no header from ply to end_header", key="header")
    format, elements = None, list[_Element]()
    for line in content[:end].decode("ascii", "replace").splitlines()[1:]:
        words = line.split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        if words[0] == "format":
            if len(words) != 3 or words[1] not in _FORMATS or words[2] != "1.0":
                raise DataError(f"{line!r:.60}", key="format")
            format = words[1]
        elif words[0] == "element":
            if len(words) != 3 or not words[2].isdecimal() or len(words[2]) > 12:
                raise DataError(f"{line!r:.60}", key="element")
            elements.append(_Element(words[1], int(words[2]), []))
        elif words[0] == "property" and elements:
            _add_property(elements[-1], words[1:])
        else:
            raise DataError(f"{line!r:.60}", key="header")
    if format is None:
        raise DataError("no line format", key="format")
    return format, elements, start


def _add_property(element: _Element, words: list[str]) -> None:
    if words and words[0] == "list":
        element.has_list = True
    elif len(words) != 2 or words[0] not in _TYPES or words[1] in dict(element.properties):
        raise DataError(f"property {' '.join(words)!r:.60}", key=f"element {element.name}")
    elif len(element.properties) == _MOST_PROPERTIES:
        raise DataError(f"more than {_MOST_PROPERTIES} properties", key=f"element {element.name}")
    else:
        element.properties.append((words[1], _TYPES[words[0]]))


def _vertex(elements: list[_Element]) -> tuple[list[_Element], _Element]:
    """Return the elements before the vertices, and the vertices."""
    place = next((place for place, one in enumerate(elements) if one.name == "vertex"), None)
    if place is None:
        found = ", ".join(one.name for one in elements) or "none"
        raise DataError(f"elements {found}", key="element vertex")
    for one in elements[: place + 1]:
        if one.has_list:
            raise DataError(f"lists in the element {one.name}", key=f"element {one.name}")
    if not elements[place].properties:
        raise DataError("no properties", key="element vertex")
    return elements[:place], elements[place]


def _dtype(element: _Element, order: str) -> np.dtype:
    return np.dtype([(name, order + kind) for name, kind in element.properties])
