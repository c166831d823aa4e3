"""Recordings that the tests write from the published formats: packets in pcap files, and OSF files."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

START_NS = 1_700_000_000_000_000_000
ROWS, COLUMNS, PER_PACKET, FRAMES = 8, 64, 16, 3
COLUMN_NS = 100_000_000 // COLUMNS
PORT = 7502
SHIFTS = [6, 4, 2, 0] * 2
# profile -> (bytes per pixel, {field: (type, byte, scale)})
LAYOUTS: dict[str, tuple[int, dict[str, tuple[str, int, int]]]] = {
    "LEGACY": (12, {"RANGE": ("<I", 0, 1), "REFLECTIVITY": ("<H", 4, 1)}),
    "RNG19_RFL8_SIG16_NIR16": (12, {"RANGE": ("<I", 0, 1), "REFLECTIVITY": ("<B", 4, 1)}),
    "RNG15_RFL8_NIR8": (4, {"RANGE": ("<H", 0, 8), "REFLECTIVITY": ("<B", 2, 1)}),
    "RNG19_RFL8_SIG16_NIR16_DUAL": (16, {"RANGE": ("<I", 0, 1), "REFLECTIVITY": ("<B", 3, 1), "RANGE2": ("<I", 4, 1),
                                         "REFLECTIVITY2": ("<B", 7, 1)}),
    "FUSA_RNG15_RFL8_NIR8_DUAL": (8, {"RANGE": ("<H", 0, 8), "REFLECTIVITY": ("<B", 2, 1), "RANGE2": ("<H", 4, 8),
                                      "REFLECTIVITY2": ("<B", 6, 1)}),
}  # fmt: skip


def metadata(profile: str = "RNG15_RFL8_NIR8", nested: bool = False, **changes: Any) -> str:
    """Metadata of a small sensor, whose beams look 8.4 degrees apart in each group of four."""
    step = 360 / COLUMNS
    beams = {
        "beam_altitude_angles": np.linspace(10, -20, ROWS).tolist(),
        "beam_azimuth_angles": [shift * step - 3 * step for shift in SHIFTS],
        "lidar_origin_to_beam_origin_mm": 15.806,
    }
    layout = {"columns_per_frame": COLUMNS, "columns_per_packet": PER_PACKET, "pixels_per_column": ROWS,
              "pixel_shift_by_row": SHIFTS, "udp_profile_lidar": profile}  # fmt: skip
    transform = {"lidar_to_sensor_transform": [-1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1, 36.18, 0, 0, 0, 1]}
    general = {"prod_line": "OS-1-8", "prod_sn": "1234"}
    settings = {"lidar_mode": f"{COLUMNS}x10", "udp_port_lidar": PORT}
    for part in (beams, layout, transform, general, settings):
        part.update({key: changes[key] for key in set(part) & set(changes)})
    if nested:
        return json.dumps({"sensor_info": general, "beam_intrinsics": beams, "lidar_intrinsics": transform,
                           "config_params": settings, "lidar_data_format": layout})  # fmt: skip
    return json.dumps({**general, **beams, **transform, **settings, "data_format": layout})


def fields(profile: str, frame: int) -> dict[str, np.ndarray]:
    """Numbers of each field (rows, columns), staggered, that a profile can hold; ranges in mm, some without return."""
    generator = np.random.default_rng(frame)
    found = {}
    for name, (kind, _, scale) in LAYOUTS[profile][1].items():
        if name.startswith("RANGE"):
            values = generator.integers(100, 4000, (ROWS, COLUMNS)) * scale
            found[name] = np.where(generator.random(values.shape) < 0.2, 0, values)
        else:
            found[name] = generator.integers(0, 256 if kind == "<B" else 1000, (ROWS, COLUMNS))
    return found


def times_ns(frame: int) -> np.ndarray:
    return START_NS + (frame * COLUMNS + np.arange(COLUMNS)) * COLUMN_NS


def packets(profile: str, frame: int, number: int) -> list[bytes]:
    """The packets of a frame; ``number`` is what the sensor calls it."""
    size, layout = LAYOUTS[profile]
    values, legacy = fields(profile, frame), profile == "LEGACY"
    made = []
    for first in range(0, COLUMNS, PER_PACKET):
        head = struct.pack("<HH", 1, number & 0xFFFF).ljust(32, b"\0")
        if profile.startswith("FUSA"):
            head = struct.pack("<II", 1, number).ljust(32, b"\0")
        body = b"" if legacy else head
        for column in range(first, first + PER_PACKET):
            time_ns = int(times_ns(frame)[column])
            if legacy:
                body += struct.pack("<QHHI", time_ns, column, number & 0xFFFF, 0)
            else:
                body += struct.pack("<QHH", time_ns, column, 1)
            for row in range(ROWS):
                pixel = bytearray(size)
                for name, (kind, at, scale) in layout.items():
                    struct.pack_into(kind, pixel, at, int(values[name][row, column]) // scale)
                    if kind == "<B":
                        pixel[at] = int(values[name][row, column])
                body += bytes(pixel)
            body += b"\xff\xff\xff\xff" if legacy else b""
        made.append(body + (b"" if legacy else bytes(32)))
    return made


def datagram(payload: bytes, port: int = PORT, fragment: int = 0, key: int = 0) -> list[bytes]:
    """The IPv4 packets of a UDP datagram, cut into fragments of so many bytes."""
    udp = struct.pack(">HHHH", 7502, port, 8 + len(payload), 0) + payload
    step = (fragment or len(udp) + 8) // 8 * 8
    made = []
    for at in range(0, len(udp), step):
        part = udp[at : at + step]
        flags = (at // 8) | (0x2000 if at + step < len(udp) else 0)
        address = bytes([10, 0, 0, 1, 10, 0, 0, 2])
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(part), key & 0xFFFF, flags, 64, 17, 0)
        made.append(head + address + part)
    return made


def pcap(ip_packets: list[bytes], link: int = 1, magic: str = "<", vlan: bool = False, cut: int | None = None) -> bytes:
    head = {1: bytes(12) + (b"\x81\x00\x00\x05" if vlan else b"") + b"\x08\x00", 101: b"", 113: bytes(14) + b"\x08\x00"}
    content = struct.pack(f"{magic}IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, link)
    for number, packet in enumerate(ip_packets):
        frame = head.get(link, b"") + packet
        kept = frame[:100] if number == cut else frame
        content += struct.pack(f"{magic}4I", 1, 2, len(kept), len(frame)) + kept
    return content


def write_pcap(
    path: Path,
    profile: str = "RNG15_RFL8_NIR8",
    fragment: int = 0,
    first: int = 700,
    nested: bool = False,
    **options: Any,
) -> Path:
    """A pcap of some frames with its metadata beside it, and packets of something else between them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(metadata(profile, nested))
    datagrams = [packet for frame in range(FRAMES) for packet in packets(profile, frame, first + frame)]
    parts = [datagram(payload, PORT, fragment, key) for key, payload in enumerate(datagrams)]
    ip_packets = [piece for pieces in parts for piece in (*pieces, *datagram(bytes(48), 7503))]
    path.write_bytes(pcap(ip_packets, **options))
    return path


def zpng(image: np.ndarray) -> bytes:
    """Pack an image of uint8, uint16 or uint32 as Ouster's ZPNG does."""
    import zstandard

    size = image.dtype.itemsize
    pixels = np.ascontiguousarray(image).view(np.uint8).reshape(*image.shape, size)
    left = np.concatenate([np.zeros((len(image), 1, size), np.uint8), pixels[:, :-1]], 1)
    different = pixels - left
    channels, width = (4, 1) if size == 4 else (1, size)
    if size == 4:
        red, green, blue, alpha = np.moveaxis(different, -1, 0)
        different = np.stack([blue, green - blue, green - red, alpha])
    head = struct.pack("<3H2B", 0xFBF8, image.shape[1], image.shape[0], channels, width)
    return head + zstandard.compress(different.tobytes())


def png(image: np.ndarray) -> bytes:
    """Pack an image of uint8, uint16 or uint32 as PNG, rows shifted as for viewing."""
    shifted = np.stack([np.roll(row, shift) for row, shift in zip(image, SHIFTS, strict=True)])
    if image.dtype == np.uint32:
        made = Image.fromarray(shifted.view(np.uint8).reshape(*image.shape, 4), "RGBA")
    else:
        made = Image.fromarray(shifted)
    content = io.BytesIO()
    made.save(content, "png")
    return content.getvalue()


def write_osf(path: Path, pack: Any = zpng, profile: str = "RNG15_RFL8_NIR8", frames: int = FRAMES) -> Path:
    """An OSF file by the flatbuffers library and the field numbers of the published schema."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = bytearray(_block(b"OSF$", _header(0, 0)))
    first, chunks = len(content), []
    for frame in range(frames):
        chunks.append(len(content) - first)
        content += _block(b"OSF!", _chunk(frame, _scan(frame, profile, pack)))
    place = len(content)
    content += _block(b"OSF#", _metadata(chunks, metadata(profile)))
    content[:first] = _block(b"OSF$", _header(place, len(content)))
    path.write_bytes(content)
    return path


def _block(name: bytes, buffer: bytes) -> bytes:
    assert buffer[8:12] == name
    return buffer + bytes(4)  # a checksum, which readers may leave alone


def _table(builder: Any, count: int, slots: list[tuple[int, str, Any]]) -> int:
    """Add a table: (field, kind, value) with kind a method name of the builder, or ``offset``."""
    builder.StartObject(count)
    for field, kind, value in slots:
        if kind == "offset":
            builder.PrependUOffsetTRelativeSlot(field, value, 0)
        else:
            getattr(builder, f"Prepend{kind}Slot")(field, value, 1 if value == 0 else 0)
    return builder.EndObject()


def _finish(builder: Any, table: int, name: bytes | None = None) -> bytes:
    builder.FinishSizePrefixed(table, file_identifier=name) if name else builder.FinishSizePrefixed(table)
    return bytes(builder.Output())


def _builder() -> Any:
    import flatbuffers

    return flatbuffers.Builder(1024)


def _header(place: int, size: int) -> bytes:
    builder = _builder()
    table = _table(builder, 4, [(0, "Uint64", 21), (1, "Uint8", 2), (2, "Uint64", place), (3, "Uint64", size)])
    return _finish(builder, table, b"OSF$")


def _vector(builder: Any, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _scan(frame: int, profile: str, pack: Any) -> bytes:
    builder, values = _builder(), fields(profile, frame)
    numbers = {"RANGE": (1, 3, np.uint32), "RANGE2": (2, 3, np.uint32), "REFLECTIVITY": (5, 1, np.uint8),
               "REFLECTIVITY2": (6, 1, np.uint8)}  # fmt: skip
    channels = []
    for name, image in values.items():
        buffer = builder.CreateByteVector(pack(image.astype(numbers[name][2])))
        channels.append(_table(builder, 1, [(0, "offset", buffer)]))
    channels_at = _vector(builder, channels)
    kinds = b"".join(bytes(numbers[name][:2]) for name in values)
    builder.StartVector(2, len(values), 4)
    for byte in reversed(kinds):
        builder.PrependByte(byte)
    kinds_at = builder.EndVector()
    times = builder.CreateNumpyVector(times_ns(frame).astype(np.uint64))
    measured = builder.CreateNumpyVector(np.arange(COLUMNS, dtype=np.uint16))
    status = builder.CreateNumpyVector(np.ones(COLUMNS, np.uint32))
    slots = [(0, "offset", channels_at), (1, "offset", kinds_at), (2, "offset", times), (3, "offset", measured),
             (4, "offset", status), (5, "Int32", 700 + frame)]  # fmt: skip
    return _finish(builder, _table(builder, 8, slots))


def _chunk(frame: int, scan: bytes) -> bytes:
    builder = _builder()
    buffer = builder.CreateByteVector(scan)
    message = _table(builder, 4, [(0, "Uint64", int(times_ns(frame)[0])), (1, "Uint32", 2), (2, "offset", buffer)])
    return _finish(builder, _table(builder, 2, [(0, "offset", _vector(builder, [message]))]), b"OSF!")


def _metadata(chunks: list[int], text: str) -> bytes:
    sensor = _builder()
    sensor_text = sensor.CreateString(text)
    sensor_buffer = _finish(sensor, _table(sensor, 1, [(0, "offset", sensor_text)]), b"oLS_")
    stream = _builder()
    stream_buffer = _finish(stream, _table(stream, 2, [(0, "Uint32", 1)]), b"oLSS")
    builder = _builder()
    entries = []
    for key, kind, buffer in ((1, "LidarSensor", sensor_buffer), (2, "LidarScanStream", stream_buffer)):
        name, content = builder.CreateString(f"ouster/v1/os_sensor/{kind}"), builder.CreateByteVector(buffer)
        entries.append(_table(builder, 3, [(0, "Uint32", key), (1, "offset", name), (2, "offset", content)]))
    entries_at = _vector(builder, entries)
    builder.StartVector(24, len(chunks), 8)
    for offset in reversed(chunks):
        for value in (offset, 0, 0):
            builder.PrependUint64(value)
    chunks_at = builder.EndVector()
    table = _table(builder, 5, [(3, "offset", chunks_at), (4, "offset", entries_at)])
    return _finish(builder, table, b"OSF#")
