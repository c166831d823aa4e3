"""LAS and LAZ files (laspy with lazrs, extra ``las``), versions 1.0 to 1.4.

Coordinates of a map are too large for float32: those of a file that lie beyond 10 km count from a place that its
header gives, the smallest x, y and z in whole meters (:func:`origin`). Feet are not turned into meters.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.bounds import expect_plain_file, expect_size
from cosmos_lidar.clips.point_fields import PointFields, is_used
from cosmos_lidar.errors import DataError
from cosmos_lidar.extras import require

EXTENSIONS = (".las", ".laz")
_WANTED = "a LAS or LAZ file of version 1.0 to 1.4"
_FARTHEST_M = 1e4
_SHORTEST_HEADER, _LONGEST_HEADER, _RECORD, _LONG_RECORD = 227, 375, 54, 60
_WORKING = 4  # copies of the points while they are read
_BLOCK, _PACKED_BLOCK = 1 << 13, 1 << 14  # points that laspy holds, each in about 100 bytes
_FIELDS = {"intensity": "intensity", "classification": "classification", "return_number": "return_number",
           "gps_time": "gps_time_s"}  # fmt: skip


@dataclass(frozen=True)
class _Header:
    points: int
    record_size: int
    smallest: np.ndarray  # (3,)
    largest: np.ndarray


def read(path: Path, clip: str | None = None, *, used: bool = False, origin_m: np.ndarray | None = None) -> PointFields:
    """Return x, y, z (float64), intensity, classification, return number, GPS time, and extra dimensions of a file.

    Args:
        path: of it.
        clip: for messages.
        used: x, y and z less ``origin_m`` as float32, and no dimension that a sweep has no use for.
        origin_m: (3,) meters.

    Raises:
        DataError: no such file, truncated, of another version, or larger than the limit.
        UserError: laspy is not installed.
    """
    header = _header(path, clip)
    size = header.points * header.record_size * _WORKING
    expect_size(size, f"{header.points} points", file=path, clip=clip, key="number of points")
    laspy = require("laspy")
    try:
        # One thread: the pool of the parallel decoder is dead in forked workers, which would wait for it for ever.
        with laspy.open(path, laz_backend=laspy.LazBackend.Lazrs) as reader:
            found, count = _read_blocks(reader, header.points, used, np.zeros(3) if origin_m is None else origin_m)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the decoder of LAZ panics outside of Exception
        raise DataError(f"laspy does not read it: {error!s:.200}", file=path, clip=clip, wanted=_WANTED) from error
    if count != header.points:
        problem = f"{count} of {header.points} points"
        raise DataError(problem, file=path, clip=clip, key="number of points", wanted=_WANTED)
    return found


def _read_blocks(reader: Any, count: int, used: bool, origin_m: np.ndarray) -> tuple[PointFields, int]:
    """Return the fields of an opened file, of which laspy holds some points at a time, and how many there are."""
    format = reader.header.point_format
    known, extra = set(format.dimension_names), list(format.extra_dimension_names)
    names = {ours: name for name, ours in _FIELDS.items() if name in known}
    names |= {name: name for name in extra if name not in (*names, *"xyz")}
    if used:
        names = {ours: name for ours, name in names.items() if is_used(ours)}
    points = np.empty((count, 3), np.float32 if used else np.float64)
    columns: dict[str, np.ndarray] = {axis: points[:, place] for place, axis in enumerate("xyz")}
    kept, filled = np.ones(count, bool), 0
    for block in reader.chunk_iterator(_PACKED_BLOCK if reader.header.are_points_compressed else _BLOCK):
        part = slice(filled, filled + len(block))
        there, finite = np.zeros(len(block), bool), np.ones(len(block), bool)
        for place, axis in enumerate("xyz"):  # one after the other: each is a copy in float64
            values = np.asarray(getattr(block, axis), np.float64)
            there |= values != 0
            finite &= np.isfinite(values)
            points[part, place] = values - origin_m[place] if used else values
        kept[part] = there & finite
        for ours, name in names.items():
            values = np.asarray(block[name])
            if ours not in columns:
                columns[ours] = np.empty((count, *values.shape[1:]), values.dtype)
            columns[ours][part] = values
        filled = part.stop
    if not used:
        return PointFields(columns), filled
    return PointFields(columns, points=points, owned=True, kept=kept), filled


def origin(path: Path, clip: str | None = None) -> np.ndarray | None:
    """Return (3,) the place that coordinates of a file of a map count from; None where they are small enough.

    Raises:
        DataError: no such file.
    """
    header = _header(path, clip)
    if max(np.abs(header.smallest).max(), np.abs(header.largest).max()) <= _FARTHEST_M:
        return None
    return np.floor(header.smallest)


def _header(path: Path, clip: str | None) -> _Header:
    """Return what the header states; counts that the file cannot hold are refused."""
    expect_plain_file(path, clip)
    with path.open("rb") as file:
        content = file.read(_LONGEST_HEADER)
    file_size = path.stat().st_size

    def refuse(problem: str, key: str) -> DataError:
        return DataError(problem, file=path, clip=clip, key=key, wanted=_WANTED)

    if content[:4] != b"LASF":
        raise refuse(f"starts with {content[:4]!r}", "signature")
    if len(content) < _SHORTEST_HEADER:
        raise refuse(f"{len(content)} bytes of a header of {_SHORTEST_HEADER}", "header")
    version, (size, start, records) = tuple(content[24:26]), struct.unpack_from("<HII", content, 94)
    point_format, record_size, points = struct.unpack_from("<BHI", content, 104)
    if not (1, 0) <= version <= (1, 4):
        raise refuse(f"version {version[0]}.{version[1]}", "version")
    if version == (1, 4):
        if len(content) < _LONGEST_HEADER:
            raise refuse(f"{len(content)} bytes of a header of {_LONGEST_HEADER}", "header")
        long_start, long_records, points = struct.unpack_from("<QIQ", content, 235)
        if long_records * _LONG_RECORD > max(0, file_size - long_start):
            raise refuse(f"{long_records} extended records from byte {long_start}", "extended variable length records")
    if size + records * _RECORD > start or start > file_size:
        raise refuse(f"{records} records, points from byte {start} of {file_size}", "variable length records")
    packed = point_format & 0x80 or path.suffix.lower() == ".laz"
    if not packed and start + points * record_size > file_size:
        raise refuse(f"{points} points of {record_size} bytes in a file of {file_size}", "number of points")
    bounds = np.array(struct.unpack_from("<6d", content, 179))  # largest and smallest x, then y, then z
    if not np.isfinite(bounds).all():
        raise refuse(f"bounds {bounds.tolist()}", "bounds")
    return _Header(points, record_size, bounds[1::2], bounds[::2])
