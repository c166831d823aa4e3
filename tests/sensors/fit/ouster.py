"""Sweeps out of an Ouster packet capture, from the published layout of its packets and its published projection."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cosmos_lidar.clips import Sweep

_PACKET, _HEADER, _COLUMN, _ROWS, _TURN = 8448, 32, 12 + 4 * 128, 128, 1024


def payloads(data: bytes) -> Iterator[bytes]:
    """Yield the UDP payloads of a capture, put together from their IPv4 fragments."""
    at, waiting = 24, {}
    while at < len(data):
        size = struct.unpack_from("<I", data, at + 8)[0]
        packet = data[at + 16 + 14 : at + 16 + size]  # after the record's and the Ethernet header
        at += 16 + size
        head = (packet[0] & 15) * 4
        length, _, flags = struct.unpack_from(">HHH", packet, 2)
        pieces = waiting.setdefault((packet[4:6], packet[12:20]), {})
        pieces[flags & 0x1FFF] = packet[head:length]
        if not flags & 0x2000:
            whole = b"".join(pieces[offset] for offset in sorted(pieces))
            del waiting[packet[4:6], packet[12:20]]
            yield whole[8:]


def read_capture(folder: Path) -> tuple[list[Sweep], dict[str, np.ndarray]]:
    """Return the sweeps in the lidar's axes, and the factory's beam angles in radians."""
    meta = json.loads(next(folder.glob("*.json")).read_text())
    meta = meta.get("beam_intrinsics", meta)
    elevations, lag = (np.radians(meta[f"beam_{name}_angles"]) for name in ("altitude", "azimuth"))
    beside_m = meta["lidar_origin_to_beam_origin_mm"] / 1000.0
    frames: dict[int, list[tuple[int, int, np.ndarray]]] = {}
    for packet in payloads(next(folder.glob("*.pcap")).read_bytes()):
        if len(packet) != _PACKET:
            continue
        for at in range(_HEADER, _HEADER + 16 * _COLUMN, _COLUMN):
            time_ns, number, status = struct.unpack_from("<QHH", packet, at)
            if status & 1:
                pixels = np.frombuffer(packet, "<u4", _ROWS, at + 12)
                frames.setdefault(struct.unpack_from("<H", packet, 2)[0], []).append((time_ns, number, pixels & 0x7FFF))
    sweeps = [_sweep(frames[number], elevations[:, None], lag[:, None], beside_m) for number in sorted(frames)]
    return sweeps, {"elevations_rad": elevations, "offsets_rad": -lag}


def _sweep(
    columns: list[tuple[int, int, np.ndarray]], elevation: np.ndarray, lag: np.ndarray, beside_m: float
) -> Sweep:
    range_m = np.stack([pixels for _, _, pixels in columns], 1) * 0.008
    encoder = 2 * np.pi * (1 - np.array([number for _, number, _ in columns]) / _TURN)
    first = min(time for time, _, _ in columns)
    time_us = np.array([(time - first) / 1000 for time, _, _ in columns])
    along, azimuth = range_m - beside_m, encoder - lag
    x = along * np.cos(azimuth) * np.cos(elevation) + beside_m * np.cos(encoder)
    y = along * np.sin(azimuth) * np.cos(elevation) + beside_m * np.sin(encoder)
    seen = range_m > 0
    points = np.stack([x, y, along * np.sin(elevation)], -1)[seen].astype(np.float32)
    ring = np.nonzero(seen)[0].astype(np.uint16)
    return Sweep(points=points, ring=ring, time_us=np.broadcast_to(time_us, seen.shape)[seen].astype(np.int32))
