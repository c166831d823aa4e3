"""TFRecord files without TensorFlow: where each record lies, by seeking over their lengths.

A record is: length (uint64), checksum of those 8 bytes (uint32), content, checksum of the content (uint32), all
little-endian; a checksum is a CRC-32C, rotated and added to a constant ("masked"). Source: the format's description in
TensorFlow's ``record_writer.h``. Checksums of lengths are verified; those of contents are not, which would read all of
the file.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

from cosmos_lidar.bounds import expect_plain_file
from cosmos_lidar.errors import DataError

_POLYNOMIAL = 0x82F63B78  # Castagnoli, bits reversed
_MASK = 0xA282EAD8
_MOST_RECORDS = 1 << 20
_WANTED = "a complete, uncompressed TFRecord file"


class Record(NamedTuple):
    """Where the content of a record starts and ends in its file, bytes."""

    start: int
    end: int


def index_records(path: Path) -> list[Record]:
    """Return where the records of a file lie; 12 bytes per record are read.

    Raises:
        DataError: no TFRecord file, an empty one, or one that is cut off.
    """
    expect_plain_file(path)
    records: list[Record] = []
    size, at = path.stat().st_size, 0
    if not size:
        raise DataError("the file is empty: 0 bytes", file=path, wanted=_WANTED)
    try:
        with path.open("rb", buffering=0) as file:
            while at < size:
                file.seek(at)
                record = _record(file.read(12), at, size, path, len(records))
                records.append(record)
                at = record.end + 4
                if len(records) > _MOST_RECORDS:
                    raise DataError(f"more than {_MOST_RECORDS} records", file=path, wanted=_WANTED)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=path) from error
    return records


def _record(head: bytes, at: int, size: int, path: Path, number: int) -> Record:
    key = f"record {number}"
    if len(head) < 12:
        raise DataError(f"{len(head)} bytes at its end are no record", file=path, key=key, wanted=_WANTED)
    length, checksum = struct.unpack("<QI", head)
    if masked_crc32c(head[:8]) != checksum:
        problem = f"wrong checksum of the length at byte {at}"
        if head.startswith(b"\x1f\x8b"):
            problem = "compressed by gzip"
        raise DataError(problem, file=path, key=key, wanted=_WANTED)
    end = at + 12 + length
    if end + 4 > size:
        raise DataError(f"cut off: {size - at - 12} of {length + 4} bytes", file=path, key=key, wanted=_WANTED)
    return Record(at + 12, end)


def masked_crc32c(data: bytes) -> int:
    """Return the masked CRC-32C of a few bytes."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    value ^= 0xFFFFFFFF
    return (((value >> 15) | (value << 17)) + _MASK) & 0xFFFFFFFF


def _table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _table()
