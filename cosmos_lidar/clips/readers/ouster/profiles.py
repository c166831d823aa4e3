"""Packet formats (UDP profiles) of Ouster sensors, as their user manual has them.

A packet is a header, columns and a footer; a column is a header (time, measured column, status), a block of bytes per
pixel, and in the LEGACY format a status behind them. Ranges of 15 bits count 8 mm, others 1 mm. All numbers are
little-endian.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cosmos_lidar.clips.readers.ouster.frames import RawFrame
from cosmos_lidar.clips.readers.ouster.metadata import Metadata
from cosmos_lidar.errors import DataError


@dataclass(frozen=True)
class _Field:
    dtype: str
    offset: int
    mask: int = 0
    scale: int = 1


@dataclass(frozen=True)
class _Profile:
    pixel_size: int
    fields: dict[str, _Field]
    legacy: bool = False
    wide_frame: bool = False  # frame number of 32 bits at byte 4, else of 16 bits at byte 2


_RANGE_19 = _Field("<u4", 0, 0x7FFFF)
_DUAL = {"RANGE": _RANGE_19, "REFLECTIVITY": _Field("u1", 3), "RANGE2": _Field("<u4", 4, 0x7FFFF),
         "REFLECTIVITY2": _Field("u1", 7)}  # fmt: skip
_RANGE_15 = _Field("<u2", 0, 0x7FFF, 8)
PROFILES = {
    "LEGACY": _Profile(12, {"RANGE": _Field("<u4", 0, 0xFFFFF), "REFLECTIVITY": _Field("<u2", 4)}, legacy=True),
    "RNG19_RFL8_SIG16_NIR16": _Profile(12, {"RANGE": _RANGE_19, "REFLECTIVITY": _Field("u1", 4)}),
    "RNG19_RFL8_SIG16_NIR16_DUAL": _Profile(16, _DUAL),
    "RNG15_RFL8_NIR8": _Profile(4, {"RANGE": _RANGE_15, "REFLECTIVITY": _Field("u1", 2)}),
    "FIVE_WORD_PIXEL": _Profile(20, _DUAL),
    "FUSA_RNG15_RFL8_NIR8_DUAL": _Profile(
        8,
        {"RANGE": _RANGE_15, "REFLECTIVITY": _Field("u1", 2), "RANGE2": _Field("<u2", 4, 0x7FFF, 8),
         "REFLECTIVITY2": _Field("u1", 6)},
        wide_frame=True,
    ),
}  # fmt: skip


class PacketFormat:
    """Places of numbers in the packets of a sensor.

    Args:
        metadata: of the sensor.

    Raises:
        DataError: an unknown profile.
    """

    def __init__(self, metadata: Metadata) -> None:
        if metadata.profile not in PROFILES:
            wanted = f"one of {', '.join(PROFILES)}"
            raise DataError(f"profile {metadata.profile!r:.40}", key="udp_profile_lidar", wanted=wanted)
        self.profile = PROFILES[metadata.profile]
        self.rows, self.columns, self.per_packet = metadata.rows, metadata.columns, metadata.columns_per_packet
        legacy = self.profile.legacy
        self.head, self.column_head, self.column_foot = (0, 16, 4) if legacy else (32, 12, 0)
        self.column_size = self.column_head + self.rows * self.profile.pixel_size + self.column_foot
        self.size = self.head + self.per_packet * self.column_size + (0 if legacy else 32)

    def frame_number(self, packet: bytes | memoryview) -> int:
        """Return the frame that a packet belongs to; 16 bits of it in most profiles."""
        at, size = (10, 2) if self.profile.legacy else (4, 4) if self.profile.wide_frame else (2, 2)
        return int.from_bytes(packet[at : at + size], "little")

    def times_ns(self, packet: bytes | memoryview) -> tuple[int, int]:
        """Return the times of the first and the last column of a packet."""
        last = self.head + (self.per_packet - 1) * self.column_size
        return (int.from_bytes(packet[self.head : self.head + 8], "little"),
                int.from_bytes(packet[last : last + 8], "little"))  # fmt: skip

    def decode(self, packets: np.ndarray | Iterable[np.ndarray]) -> RawFrame:
        """Return the frame of packets (P, size) uint8, without columns that are not valid or of no such number.

        Args:
            packets: all of the frame, or some at a time, in their order.
        """
        times = np.zeros(self.columns, np.uint64)
        fields = {
            name: np.zeros((self.rows, self.columns), np.uint32 if field.mask else field.dtype)
            for name, field in self.profile.fields.items()
        }
        for part in [packets] if isinstance(packets, np.ndarray) else packets:
            self._add(part, times, fields)
        return RawFrame(fields, times)

    def _add(self, packets: np.ndarray, times: np.ndarray, fields: dict[str, np.ndarray]) -> None:
        """Put the columns of packets into the images of a frame."""
        body = packets[:, self.head : self.head + self.per_packet * self.column_size]
        columns = np.ascontiguousarray(body).reshape(-1, self.column_size)
        measured = _view(columns, 8, "<u2")
        if self.profile.legacy:
            valid = _view(columns, self.column_size - 4, "<u4") == 0xFFFFFFFF
        else:
            valid = (_view(columns, 10, "<u2") & 1) == 1
        valid &= measured < self.columns
        columns, measured = columns[valid], measured[valid]
        times[measured] = _view(columns, 0, "<u8")
        pixels = columns[:, self.column_head : self.column_size - self.column_foot]
        pixels = pixels.reshape(len(columns), self.rows, self.profile.pixel_size)
        for name, field in self.profile.fields.items():
            values = _view(pixels, field.offset, field.dtype)
            if field.mask:
                values = (values & values.dtype.type(field.mask)).astype(np.uint32) * np.uint32(field.scale)
            fields[name][:, measured] = values.T


def _view(values: np.ndarray, offset: int, dtype: str) -> np.ndarray:
    """Return numbers of a type at a byte of the last axis."""
    size = np.dtype(dtype).itemsize
    return np.ascontiguousarray(values[..., offset : offset + size]).view(dtype)[..., 0]
