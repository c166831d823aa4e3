"""OSF files: the sensors in one, an index of their scans, and a scan by its place.

A file is a header, chunks, and metadata, each a FlatBuffer with its size before it and a checksum behind. A chunk holds
messages; those of streams of lidar scans hold images of fields (:mod:`cosmos_lidar.clips.readers.ouster.images`).
Names and numbers of the fields are those of the schema of Ouster's SDK, version 2.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosmos_lidar.bounds import expect_plain_file
from cosmos_lidar.clips.readers.ouster.flat import BrokenBufferError, Table, root
from cosmos_lidar.clips.readers.ouster.frames import FrameSpan, RawFrame
from cosmos_lidar.clips.readers.ouster.images import decode_image
from cosmos_lidar.clips.readers.ouster.metadata import Metadata, parse_metadata
from cosmos_lidar.errors import DataError

_WANTED = "a complete OSF file of version 2"
_VALID = 2  # status of a file that was finished
_SENSOR, _SCANS = "ouster/v1/os_sensor/LidarSensor", "ouster/v1/os_sensor/LidarScanStream"
_CHANNELS = {1: "RANGE", 2: "RANGE2", 5: "REFLECTIVITY", 6: "REFLECTIVITY2"}


@dataclass(frozen=True)
class OsfFrames:
    """Scans of one sensor of an OSF file; ``read_frame`` of a lidar.

    Attributes:
        path: of the file.
        metadata: json text of the sensor.
        spans: of each scan.
        places: of each scan in the file.
    """

    path: Path
    metadata: str
    spans: tuple[FrameSpan, ...]
    places: tuple[int, ...]

    def __call__(self, index: int) -> RawFrame:
        """Return scan ``index``.

        Raises:
            DataError: an image that is damaged or of another size, or no range in it.
        """
        metadata = parse_metadata(self.metadata)
        shape, fields = (metadata.rows, metadata.columns), {}
        with _opened(self.path) as data:
            message = root(data, self.places[index])
            kinds, channels = message.structs(1, 2), message.tables(0)
            for kind, channel in zip(kinds, channels, strict=False):
                name = _CHANNELS.get(kind[0])
                if name is not None:
                    try:
                        fields[name] = decode_image(bytes(channel.raw(0)), shape, metadata.shifts)
                    except DataError as error:
                        key = f"scan {index} {name}"
                        raise error.at(file=self.path, key=key) from error
            times, valid = _times(message, metadata)
        if "RANGE" not in fields:
            raise DataError("no field RANGE", file=self.path, key=f"scan {index}", wanted=_WANTED)
        kept = np.where(valid, times, 0)
        return RawFrame({name: image * valid for name, image in fields.items()}, kept)


def index_osf(path: Path) -> list[OsfFrames]:
    """Return the scans of each sensor of an OSF file; images are not read.

    Raises:
        DataError: no such file, not finished, of another version, truncated, or without scans.
    """
    with _opened(path) as data:
        metadata, first = _file_metadata(data, path)
        sensors, streams = {}, {}
        for entry in metadata.tables(4):
            buffer, kind = bytes(entry.raw(2)), entry.text(1)
            if kind == _SENSOR:
                sensors[entry.number(0, "I")] = root(buffer).text(0)
            elif kind == _SCANS:
                streams[entry.number(0, "I")] = root(buffer).number(0, "I")
        parsed = {key: parse_metadata(text, path) for key, text in sensors.items()}
        found: dict[int, list[tuple[FrameSpan, int]]] = {}
        for offset in (int.from_bytes(one[16:24], "little") for one in metadata.structs(3, 24)):
            for message in root(data, first + offset).tables(0):
                sensor = streams.get(message.number(1, "I"), -1)
                if sensor in sensors:
                    found.setdefault(sensor, []).append(_scan(message, parsed[sensor], data))
    if not found:
        raise DataError("no scan of a lidar in it", file=path, key="chunks", wanted=_WANTED)
    result = []
    for sensor, scans in sorted(found.items()):
        scans.sort(key=lambda one: one[0].start_ns)
        result.append(OsfFrames(path, sensors[sensor], *map(tuple, zip(*scans, strict=True))))
    return result


def _file_metadata(data: mmap.mmap, path: Path) -> tuple[Table, int]:
    """Return the metadata of a file, and where its chunks start."""
    if data[8:12] != b"OSF$":
        raise DataError(f"starts with {data[8:12]!r}", file=path, key="magic", wanted=_WANTED)
    header = root(data)
    first = 4 + int.from_bytes(data[:4], "little") + 4
    status, place, size = header.number(1, "B"), header.number(2, "Q", 1), header.number(3, "Q", 1)
    if status != _VALID:
        raise DataError(f"status {status}: it was not finished", file=path, key="status", wanted=_WANTED)
    if size != len(data):
        raise DataError(f"{len(data)} of {size} bytes", file=path, key="file_length", wanted=_WANTED)
    return root(data, place), first


def _scan(message: Table, metadata: Metadata, data: mmap.mmap) -> tuple[FrameSpan, int]:
    """Return the span of a scan message, and its place."""
    start, count = message.vector(2, 1)
    scan = root(data, start, start + count)
    times, valid = _times(scan, metadata)
    if not valid.any():
        raise BrokenBufferError("a scan without a column")
    seen = times[valid].astype(np.int64)
    period = int(np.median(np.diff(np.sort(seen)))) if len(seen) > 1 else 1
    number = scan.number(5, "i")
    return FrameSpan(number, int(seen.min()), int(seen.max()) + max(1, period), int(valid.sum())), start


def _times(scan: Table, metadata: Metadata) -> tuple[np.ndarray, np.ndarray]:
    """Return (columns,) times and which columns were received."""
    times, status = scan.array(2, "<u8"), scan.array(4, "<u4")
    if len(times) != metadata.columns or len(status) not in (0, metadata.columns):
        raise BrokenBufferError(f"{len(times)} times and {len(status)} states of {metadata.columns} columns")
    return times, (times > 0) & ((status & 1) == 1 if len(status) else True)


@contextmanager
def _opened(path: Path) -> Iterator[mmap.mmap]:
    try:
        expect_plain_file(path)
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
    except (OSError, ValueError, struct.error, BrokenBufferError) as error:
        raise DataError(f"not readable: {error}", file=path, wanted=_WANTED) from error
