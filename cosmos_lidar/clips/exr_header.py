"""The header of an OpenEXR file, checked before the library OpenEXR sees the file, which crashes on damaged ones.

A file starts with a magic number and a version, whose upper bits name tiles, deep pixels and several parts. Attributes
follow, each a name, a type (both ended by 0), a size and a value, ended by an empty name ("The OpenEXR File Layout").
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.errors import DataError

WANTED = "a complete OpenEXR file of scan lines in one part"
_MAGIC, _VERSION = 20000630, 2
_LONG_NAMES = 0x400  # the one bit beside the version that changes no layout
_LARGEST_HEADER, _LONGEST_NAME, _MOST_CHANNELS = 1 << 16, 255, 64
_DTYPES: tuple[type, ...] = (np.uint32, np.float16, np.float32)  # by the number of a pixel type
_COMPRESSIONS = 5  # none, RLE, ZIPS, ZIP, PIZ: those after them (PXR24, B44, DWA) lose bits
_SIZES = {"channels": ("chlist", None), "compression": ("compression", 1), "dataWindow": ("box2i", 16),
          "displayWindow": ("box2i", 16), "lineOrder": ("lineOrder", 1), "pixelAspectRatio": ("float", 4),
          "screenWindowCenter": ("v2f", 8), "screenWindowWidth": ("float", 4)}  # fmt: skip
_OTHER_SIZES = {"string": None, "int": 4, "float": 4, "double": 8, "rational": 8, "v2i": 8, "v2f": 8, "v3i": 12,
                "v3f": 12, "box2i": 16, "box2f": 16, "m33f": 36, "m44f": 64, "chromaticities": 32, "timecode": 8,
                "keycode": 28}  # fmt: skip


@dataclass(frozen=True)
class ExrHeader:
    """What an OpenEXR file states about its pixels.

    Attributes:
        shape: height and width.
        channels: name -> dtype, in the order of the file.
    """

    shape: tuple[int, int]
    channels: dict[str, type]


def read_exr_header(file: Path, where: dict[str, Any]) -> ExrHeader:
    """Return the header of a file.

    Args:
        file: to read.
        where: ``file``, ``clip`` and ``key`` for messages.

    Raises:
        DataError: it cannot be read, is of another kind, is damaged, or has channels of a lower resolution.
    """
    try:
        with file.open("rb") as content:
            head = content.read(_LARGEST_HEADER)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", wanted=WANTED, **where) from error
    try:
        return _header(_attributes(head))
    except (ValueError, IndexError, KeyError, struct.error) as error:
        raise DataError(f"not an OpenEXR file: {error}", wanted=WANTED, **where) from error


def _attributes(head: bytes) -> dict[str, bytes]:
    """Return the values of the attributes that every file has; others are skipped."""
    magic, version = struct.unpack_from("<2I", head)
    if magic != _MAGIC or version & 0xFF != _VERSION:
        raise ValueError("other first bytes")
    if version & ~(0xFF | _LONG_NAMES):
        raise ValueError(f"tiles, deep pixels or several parts (version {version:#x})")
    found, at = {}, 8
    while head[at]:
        name, at = _text(head, at)
        kind, at = _text(head, at)
        (size,) = struct.unpack_from("<i", head, at)
        at += 4
        if size < 0 or at + size >= len(head) or name in found:
            raise ValueError(f"attribute {name!r} of {size} bytes")
        expected = _SIZES.get(name)
        if expected is not None:
            if kind != expected[0] or expected[1] not in (None, size):
                raise ValueError(f"attribute {name!r} of type {kind!r} and {size} bytes")
            found[name] = head[at : at + size]
        elif kind not in _OTHER_SIZES or _OTHER_SIZES[kind] not in (None, size):
            raise ValueError(f"attribute {name!r} of type {kind!r}")
        at += size
    missing = next((name for name in _SIZES if name not in found), None)
    if missing is not None:
        raise ValueError(f"no attribute {missing!r}")
    return found


def _text(head: bytes, at: int) -> tuple[str, int]:
    end = head.index(b"\0", at, at + _LONGEST_NAME + 1)
    if end == at:
        raise ValueError("an empty name")
    return head[at:end].decode("ascii"), end + 1


def _header(attributes: dict[str, bytes]) -> ExrHeader:
    left, top, right, bottom = struct.unpack("<4i", attributes["dataWindow"])
    if attributes["compression"][0] >= _COMPRESSIONS:
        raise ValueError(f"compression {attributes['compression'][0]}, which may lose bits")
    if attributes["lineOrder"][0] > 1 or right < left or bottom < top:
        raise ValueError(f"lines {top} to {bottom}, columns {left} to {right}, order {attributes['lineOrder'][0]}")
    return ExrHeader((bottom - top + 1, right - left + 1), _channels(attributes["channels"]))


def _channels(content: bytes) -> dict[str, type]:
    found: dict[str, type] = {}
    at = 0
    while content[at]:
        name, at = _text(content, at)
        kind, _, across, down = struct.unpack_from("<2i2i", content, at)
        at += 16
        if not 0 <= kind < len(_DTYPES) or (across, down) != (1, 1) or name in found:
            raise ValueError(f"channel {name!r} of pixel type {kind}, sampled {across} x {down}")
        found[name] = _DTYPES[kind]
    if at + 1 != len(content) or not 0 < len(found) <= _MOST_CHANNELS:
        raise ValueError(f"{len(found)} channels, expected 1 to {_MOST_CHANNELS}")
    return found
