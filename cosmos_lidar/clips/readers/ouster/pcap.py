"""Recorded UDP packets (``.pcap``): an index of the frames, and the packets of a frame.

Ethernet (with VLAN tags), Linux cooked and raw IP captures are read; datagrams that were sent in IPv4 fragments are put
together by sender, receiver and identification. A frame is the packets of one frame number, in any order.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cosmos_lidar.bounds import expect_plain_file
from cosmos_lidar.clips.readers.ouster.frames import FrameSpan, RawFrame
from cosmos_lidar.clips.readers.ouster.metadata import parse_metadata
from cosmos_lidar.clips.readers.ouster.profiles import PacketFormat
from cosmos_lidar.errors import DataError

_MAGICS = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">", b"\x4d\x3c\xb2\xa1": "<", b"\xa1\xb2\x3c\x4d": ">"}
_PCAPNG = b"\x0a\x0d\x0d\x0a"
_ETHERNET, _RAW, _COOKED = 1, 101, 113
_VLAN, _IPV4, _UDP = (0x8100, 0x88A8), 0x0800, 17
_LARGEST_RECORD = 1 << 18
_TOGETHER = 16  # packets that are decoded at a time
_WAITING = 1024  # datagrams of which parts are missing
_WANTED = "a complete pcap file of Ethernet or IP packets"

Pieces = tuple[tuple[int, int], ...]  # (place in the file, size) of the parts of a payload


@dataclass(frozen=True)
class PcapFrames:
    """Frames of a pcap file; ``read_frame`` of a lidar.

    Attributes:
        path: of the file.
        metadata: json text of the sensor.
        spans: of each frame.
        packets: of each frame, the pieces of its packets.
        packets_cut: packets that were not recorded whole.
    """

    path: Path
    metadata: str
    spans: tuple[FrameSpan, ...]
    packets: tuple[tuple[Pieces, ...], ...]
    packets_cut: int

    def __call__(self, index: int) -> RawFrame:
        """Return frame ``index``.

        Raises:
            DataError: the file is not what it was.
        """
        with self.path.open("rb") as file:
            return _format(self.metadata).decode(self._read(file, self.packets[index]))

    def _read(self, file: BinaryIO, packets: tuple[Pieces, ...]) -> Iterator[np.ndarray]:
        """Yield packets (P, size) uint8, some at a time."""
        size = _format(self.metadata).size
        for first in range(0, len(packets), _TOGETHER):
            part = packets[first : first + _TOGETHER]
            content = bytearray()
            for at, count in (piece for pieces in part for piece in pieces):
                file.seek(at)
                content += file.read(count)
            if len(content) != size * len(part):
                raise DataError("it has changed since it was opened", file=self.path, wanted=_WANTED)
            yield np.frombuffer(content, np.uint8).reshape(-1, size)


@lru_cache(maxsize=4)
def _format(metadata: str) -> PacketFormat:
    return PacketFormat(parse_metadata(metadata))


def index_pcap(path: Path, text: str) -> PcapFrames:
    """Return the frames of a pcap file; only heads of packets are read.

    Args:
        path: of the file.
        text: metadata of its sensor.

    Raises:
        DataError: no pcap file, truncated, or without packets of the sensor.
    """
    metadata, layout = parse_metadata(text), _format(text)
    with _mapped(path) as data:
        cut, found, sizes = [0], dict[int, list[Pieces]](), dict[int, int]()
        for port, pieces in _datagrams(data, path, cut):
            size = sum(one for _, one in pieces)
            sizes[size] = sizes.get(size, 0) + 1
            if size == layout.size:
                found.setdefault(port, []).append(pieces)
        if not found:
            most = ", ".join(f"{sizes[size]} of {size} bytes" for size in sorted(sizes, key=sizes.__getitem__)[-4:])
            wanted = f"packets of {layout.size} bytes ({metadata.profile}, {metadata.rows} rows)"
            raise DataError(f"UDP packets: {most or 'none'}", file=path, key="udp_profile_lidar", wanted=wanted)
        if metadata.port not in found and len(found) > 1:
            ports = ", ".join(map(str, sorted(found)))
            problem = f"packets at ports {ports}, the sensor's is {metadata.port}"
            raise DataError(problem, file=path, key="udp_port_lidar", wanted="the port of the sensor")
        packets = found[metadata.port] if metadata.port in found else next(iter(found.values()))
        frames = _frames(data, packets, layout)
    return PcapFrames(path, text, tuple(frames), tuple(tuple(one) for one in frames.values()), cut[0])


def _frames(data: mmap.mmap, packets: list[Pieces], layout: PacketFormat) -> dict[FrameSpan, list[Pieces]]:
    """Return the packets of each frame in the order of frames, whose numbers may start again at 0."""
    modulo = 1 << (32 if layout.profile.wide_frame else 16)
    grouped: dict[int, list[tuple[Pieces, int, int]]] = {}
    number: int | None = None
    for pieces in packets:
        packet: bytes | memoryview
        at, size = pieces[0]
        packet = data[at : at + size] if len(pieces) == 1 else b"".join(data[at : at + size] for at, size in pieces)
        found = layout.frame_number(packet)
        before = found if number is None else number
        current = before + (found - before + modulo // 2) % modulo - modulo // 2
        number = max(before, current)
        grouped.setdefault(current, []).append((pieces, *layout.times_ns(packet)))
    frames: dict[FrameSpan, list[Pieces]] = {}
    for current in sorted(grouped):
        parts = grouped[current]
        start, last = min(one[1] for one in parts), max(one[2] for one in parts)
        period = int(np.median([(end - begin) / max(1, layout.per_packet - 1) for _, begin, end in parts]))
        span = FrameSpan(current % modulo, start, last + max(1, period), len(parts) * layout.per_packet)
        frames[span] = [pieces for pieces, _, _ in parts]
    return frames


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    try:
        expect_plain_file(path)
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise DataError(f"cannot be read: {error}", file=path, wanted=_WANTED) from error


def _datagrams(data: mmap.mmap, path: Path, cut: list[int]) -> Iterator[tuple[int, Pieces]]:
    """Yield (destination port, pieces of the payload) of the UDP datagrams of a file; count those cut short."""
    if data[:4] == _PCAPNG:
        raise DataError("a pcapng file", file=path, wanted="pcap: `tshark -F pcap -r FILE -w OUT` turns it into one")
    if data[:4] not in _MAGICS or len(data) < 24:
        raise DataError(f"starts with {data[:4]!r}", file=path, key="magic", wanted=_WANTED)
    order = _MAGICS[data[:4]]
    link = struct.unpack_from(f"{order}I", data, 20)[0] & 0xFFFF
    if link not in (_ETHERNET, _RAW, _COOKED):
        raise DataError(f"link type {link}", file=path, key="link type", wanted=f"{_ETHERNET}, {_RAW} or {_COOKED}")
    record = struct.Struct(f"{order}4I")
    waiting: dict[bytes, dict[int, tuple[int, int, bool]]] = {}
    at, size = 24, len(data)
    while at < size:
        if at + 16 > size:
            raise DataError(f"ends inside a record, after {size} bytes", file=path, wanted=_WANTED)
        _, _, kept, sent = record.unpack_from(data, at)
        start, at = at + 16, at + 16 + kept
        if kept > _LARGEST_RECORD or at > size:
            raise DataError(f"a record of {kept} bytes at byte {start} of {size}", file=path, wanted=_WANTED)
        if kept < sent:
            cut[0] += 1
            continue
        packet = _ip(data, start, at, link)
        if packet is not None:
            yield from _udp(data, packet, at, waiting)


def _ip(data: mmap.mmap, start: int, end: int, link: int) -> int | None:
    """Return where the IPv4 packet of a record starts; None for others."""
    if link == _RAW:
        at = start
    else:
        at = start + (12 if link == _ETHERNET else 14)
        kind = int.from_bytes(data[at : at + 2], "big")
        while kind in _VLAN and at + 4 < end:
            at += 4
            kind = int.from_bytes(data[at : at + 2], "big")
        if kind != _IPV4:
            return None
        at += 2
    return at if at + 20 <= end and data[at] >> 4 == 4 else None


def _udp(
    data: mmap.mmap, start: int, end: int, waiting: dict[bytes, dict[int, tuple[int, int, bool]]]
) -> Iterator[tuple[int, Pieces]]:
    """Yield the datagram of an IPv4 packet, once all its fragments have come."""
    head = (data[start] & 15) * 4
    total, key, flags = struct.unpack_from(">HHH", data, start + 2)
    body, after = start + head, min(end, start + total)
    if data[start + 9] != _UDP or head < 20 or body > after:
        return
    offset, more = (flags & 0x1FFF) * 8, bool(flags & 0x2000)
    if not offset and not more:
        yield from _payload(data, [(body, after - body)])
        return
    name = data[start + 12 : start + 20] + key.to_bytes(2, "big")
    parts = waiting.setdefault(name, {})
    parts[offset] = body, after - body, more
    pieces, reached = [], 0
    while reached in parts:
        at, size, more = parts[reached]
        pieces.append((at, size))
        reached += size
        if not more:
            del waiting[name]
            yield from _payload(data, pieces)
            return
        if not size:
            break
    while len(waiting) > _WAITING:
        del waiting[next(iter(waiting))]


def _payload(data: mmap.mmap, pieces: list[tuple[int, int]]) -> Iterator[tuple[int, Pieces]]:
    at, size = pieces[0]
    if size >= 8:
        port, length = struct.unpack_from(">HH", data, at + 2)
        pieces = [(at + 8, size - 8), *pieces[1:]]
        if length == 8 + sum(one for _, one in pieces):
            yield port, tuple(piece for piece in pieces if piece[1])
