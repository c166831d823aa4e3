"""Draco point clouds (``.drc``): sizes from the header are bounded before DracoPy (extra ``draco``) decodes.

The header is walked as the bitstream specification has it (versions 1.0 to 2.3 of point clouds): ``DRACO``, version,
geometry type, encoding, flags, metadata, number of points, then per attribute its type, data type and number of
components. Points come out in the order in which they were encoded, which for kd-tree encoding is not that of the
sensor.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosmos_lidar.bounds import expect_size
from cosmos_lidar.errors import DataError
from cosmos_lidar.extras import require

_WANTED = "a point cloud that Draco 1.0 or newer wrote"
_MAGIC = b"DRACO"
_METADATA = 0x8000  # flag
_SEQUENTIAL, _KD_TREE = 0, 1
_DEPTH = 16  # of metadata inside metadata
_ATTRIBUTES = 64  # more are no lidar's
_POSITION = 0
_ITEM_SIZES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 8, 8: 8, 9: 4, 10: 8, 11: 1}  # data type -> bytes
_NAMES = {1: "normal", 2: "color", 3: "tex_coord"}
_WORKING = 3  # copies of an attribute that the decoder holds at once: encoded integers, values, numpy's


def decode_cloud(
    content: bytes, file: Path | None = None, clip: str | None = None
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the points of a Draco point cloud and its other attributes.

    Args:
        content: of the file, or of a cell of a table.
        file: for messages.
        clip: for messages.

    Returns:
        points (N, 3) float32 as encoded, and attributes by name: (N,) with one component, else (N, components), in the
        dtype that DracoPy gives. Generic attributes have the name of their metadata, or ``generic_<id>``; the others
        are ``normal``, ``color`` and ``tex_coord``.

    Raises:
        DataError: a mesh, no Draco, damaged, without positions, or larger than the limit.
        UserError: DracoPy is not installed.
    """
    try:
        size, count = _decoded_size(content)
    except DataError as error:
        raise error.at(file=file, clip=clip, wanted=_WANTED) from error
    expect_size(size, f"decoding {count} Draco points", file=file, clip=clip, key="number of points")
    library = require("DracoPy")
    try:
        cloud = library.decode(content)
        points, found = np.asarray(cloud.points, np.float32), list(cloud.attributes)
    except Exception as error:  # DracoPy raises its own classes, C++ exceptions arrive as RuntimeError and others
        raise DataError(f"Draco does not decode it: {error!s:.200}", file=file, clip=clip, wanted=_WANTED) from error
    if points.shape != (count, 3):
        problem = f"positions {points.shape} of {count} points"
        raise DataError(problem, file=file, clip=clip, key="position", wanted=_WANTED)
    attributes = {}
    for one in found:
        if one["attribute_type"] != _POSITION:
            name = one["name"] or _NAMES.get(one["attribute_type"], f"generic_{one['unique_id']}")
            values = np.asarray(one["data"]).reshape(count, -1)
            attributes[name] = values[:, 0] if values.shape[1] == 1 else values
    return points, attributes


@dataclass
class _Cursor:
    """A place in the header."""

    content: bytes
    at: int = 0

    def take(self, count: int) -> bytes:
        if count > len(self.content) - self.at:
            raise DataError(f"ends after {len(self.content)} bytes, in its header", key="header")
        self.at += count
        return self.content[self.at - count : self.at]

    def integer(self, count: int) -> int:
        return int.from_bytes(self.take(count), "little")

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 35:
                raise DataError("a number of more than 5 bytes", key="header")


def _decoded_size(content: bytes) -> tuple[int, int]:
    """Return the bytes that decoding takes at most, and the number of points."""
    cursor = _Cursor(content)
    if content[: len(_MAGIC)] != _MAGIC:
        raise DataError(f"starts with {content[:5]!r}, not with {_MAGIC!r}", key="magic")
    cursor.at = len(_MAGIC)
    version = cursor.integer(1), cursor.integer(1)
    geometry, method, flags = cursor.integer(1), cursor.integer(1), cursor.integer(2)
    if geometry != 0:
        kind = "a mesh, which has no lidar points" if geometry == 1 else f"geometry type {geometry}"
        raise DataError(f"this is {kind}", key="geometry type")
    if not (1, 0) <= version <= (2, 3):
        raise DataError(f"bitstream version {version[0]}.{version[1]}, known are 1.0 to 2.3", key="version")
    if method not in (_SEQUENTIAL, _KD_TREE):
        raise DataError(f"encoding {method}, known are 0 and 1", key="encoding")
    if flags & _METADATA:
        for _ in range(cursor.varint()):
            cursor.varint()
            _skip_metadata(cursor, 0)
        _skip_metadata(cursor, 0)
    count = cursor.integer(4)
    if not 0 < count < 1 << 31:
        raise DataError(f"{count} points in it", key="number of points")
    return count * _point_size(cursor, version, method) * _WORKING, count


def _skip_metadata(cursor: _Cursor, depth: int) -> None:
    if depth > _DEPTH:
        raise DataError(f"metadata nested more than {_DEPTH} deep", key="metadata")
    for _ in range(cursor.varint()):
        cursor.take(cursor.integer(1))
        cursor.take(cursor.varint())
    for _ in range(cursor.varint()):
        cursor.take(cursor.integer(1))
        _skip_metadata(cursor, depth + 1)


def _point_size(cursor: _Cursor, version: tuple[int, int], method: int) -> int:
    """Return the bytes per point of all attributes, each value counted as 4 bytes at least."""
    total = attributes = 0
    for _ in range(cursor.integer(1)):
        count = cursor.varint() if version >= (2, 0) else cursor.integer(4)
        attributes += count
        if attributes > _ATTRIBUTES:
            raise DataError(f"{attributes} attributes", key="attributes")
        for _ in range(count):
            cursor.take(1)
            data_type, components = cursor.integer(1), cursor.integer(1)
            cursor.take(1)
            cursor.varint() if version >= (1, 3) else cursor.take(2)
            if data_type not in _ITEM_SIZES or not components:
                raise DataError(f"data type {data_type} with {components} components", key="attributes")
            total += max(4, _ITEM_SIZES[data_type]) * components
        if method == _SEQUENTIAL:
            cursor.take(count)  # the kind of decoder of each attribute
    if not attributes:
        raise DataError("no attribute in it", key="attributes")
    return total
