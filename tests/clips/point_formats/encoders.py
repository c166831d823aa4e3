"""Encoders of point cloud files, written from the published formats; independent of the readers."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

# x y z, an intensity, a ring and a time in microseconds after the start of a sweep of 0.1 s
DTYPE = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4"), ("ring", "<u2"), ("t", "<u4")])


def table(count: int = 500, seed: int = 0) -> np.ndarray:
    """Points of a turning scanner around a box, in the order of time."""
    made = np.zeros(count, DTYPE)
    generator = np.random.default_rng(seed)
    azimuth = np.pi - np.linspace(0, 2 * np.pi, count, endpoint=False)
    distance = 20 + 5 * np.cos(4 * azimuth)
    made["x"], made["y"] = distance * np.cos(azimuth), distance * np.sin(azimuth)
    made["z"] = generator.uniform(-2, 2, count)
    made["intensity"] = generator.integers(0, 256, count)
    made["ring"] = np.arange(count) % 32
    made["t"] = np.arange(count) * 100_000 // count
    return made


def pack_lzf(data: bytes) -> bytes:
    """Pack by LZF: a table of the last place of each three bytes, the longest copy from there."""
    packed, literals, places, at = bytearray(), bytearray(), dict[bytes, int](), 0

    def flush() -> None:
        for start in range(0, len(literals), 32):
            part = literals[start : start + 32]
            packed.append(len(part) - 1)
            packed.extend(part)
        literals.clear()

    while at < len(data):
        key = data[at : at + 3]
        place = places.get(key, -1)
        places[key] = at
        if len(key) < 3 or place < 0 or at - place > 8192:
            literals.append(data[at])
            at += 1
            continue
        length = 3
        while length < 264 and at + length < len(data) and data[place + length] == data[at + length]:
            length += 1
        flush()
        distance = at - place - 1
        packed.append((min(length - 2, 7) << 5) | (distance >> 8))
        if length - 2 >= 7:
            packed.append(length - 9)
        packed.append(distance & 0xFF)
        at += length
    flush()
    return bytes(packed)


def pcd_header(cloud: np.ndarray, data: str, **changes: str) -> bytes:
    kinds = {"f": "F", "u": "U", "i": "I"}
    fields = [(name, cloud.dtype[name].base, cloud.dtype[name].shape) for name in cloud.dtype.names]
    lines = {
        "VERSION": "0.7",
        "FIELDS": " ".join(name for name, _, _ in fields),
        "SIZE": " ".join(str(base.itemsize) for _, base, _ in fields),
        "TYPE": " ".join(kinds[base.kind] for _, base, _ in fields),
        "COUNT": " ".join(str(shape[0] if shape else 1) for _, _, shape in fields),
        "WIDTH": str(cloud.shape[-1]),
        "HEIGHT": str(cloud.shape[0] if cloud.ndim == 2 else 1),
        "VIEWPOINT": "0 0 0 1 0 0 0",
        "POINTS": str(cloud.size),
        "DATA": data,
    }
    return ("# .PCD\n" + "".join(f"{key} {value}\n" for key, value in (lines | changes).items())).encode()


def write_pcd(path: Path, cloud: np.ndarray, data: str = "binary", **changes: str) -> Path:
    """Write a structured array (N,) or (height, width)."""
    flat = cloud.reshape(-1)
    if data == "ascii":
        rows = (" ".join(f"{float(v):.9g}" for part in row for v in np.ravel(part)) for row in flat.tolist())
        body = "\n".join(rows).encode() + b"\n"
    elif data == "binary_compressed":
        raw = b"".join(np.ascontiguousarray(flat[name]).tobytes() for name in cloud.dtype.names)
        packed = pack_lzf(raw)
        body = struct.pack("<II", len(packed), len(raw)) + packed
    else:
        body = flat.tobytes()
    path.write_bytes(pcd_header(cloud, data, **changes) + body)
    return path


PLY_TYPES = {"f4": "float", "f8": "double", "u1": "uchar", "u2": "ushort", "u4": "uint", "i2": "short", "i4": "int"}


def write_ply(path: Path, cloud: np.ndarray, format: str = "binary_little_endian", before: str = "") -> Path:
    properties = [f"property {PLY_TYPES[cloud.dtype[name].str[1:]]} {name}" for name in cloud.dtype.names]
    head = ["ply", f"format {format} 1.0", "comment made", *filter(None, [before]), f"element vertex {len(cloud)}",
            *properties, "element face 0", "property list uchar int vertex_indices", "end_header"]  # fmt: skip
    if format == "ascii":
        body = "\n".join(" ".join(f"{v:.9g}" for v in row) for row in cloud.tolist()).encode() + b"\n"
    else:
        body = cloud.astype(cloud.dtype.newbyteorder("<" if "little" in format else ">")).tobytes()
    path.write_bytes("\n".join(head).encode() + b"\n" + body)
    return path
