"""Point clouds as PLY files, which every point-cloud viewer opens."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from cosmos_lidar.bounds import read_file
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.files import atomic_write
from cosmos_lidar.viz.point_cloud import point_colors

_XYZ = [(name, "<f4") for name in "xyz"]
_RGB = [(name, "u1") for name in ("red", "green", "blue")]
_TYPES = {"<f4": "float", "u1": "uchar"}


class PointFile(NamedTuple):
    """Content of a point file: (N, 3) float32 meters, and (N, 3) uint8 colors or None."""

    points: np.ndarray
    colors: np.ndarray | None


def write_ply(
    path: str | Path, points: np.ndarray, colors: np.ndarray | tuple[float, float, float] | None = None
) -> None:
    """Write a binary little-endian PLY file, atomically; missing folders are made.

    Args:
        path: file to write.
        points: (N, >=3) meters; the first three columns are kept as float32.
        colors: (N, 3) or one color, uint8 or floats in [0, 1]; no colors are written when None.
    """
    points = np.asarray(points, np.float32)
    if points.ndim != 2 or points.shape[1] < 3:
        raise UserError(f"points have the shape (N, 3 or more), this array {points.shape}")
    fields = _XYZ if colors is None else _XYZ + _RGB
    records = np.empty(len(points), fields)
    for column, (name, _) in enumerate(_XYZ):
        records[name] = points[:, column]
    for column, (name, _) in enumerate(fields[3:]):
        records[name] = point_colors(points, colors)[:, column]
    properties = "".join(f"property {_TYPES[kind]} {name}\n" for name, kind in fields)
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n{properties}end_header\n"
    with atomic_write(path) as partial:
        partial.write_bytes(header.encode("ascii") + records.tobytes())


def read_ply(path: str | Path) -> PointFile:
    """Read a PLY file as :func:`write_ply` writes it.

    Raises:
        DataError: the file is of another kind, or shorter than its header states.
    """
    content = read_file(Path(path), "a file of points")
    end = content.find(b"end_header\n")
    header = content[: max(end, 0)].decode("ascii", "replace").splitlines()
    if header[:2] != ["ply", "format binary_little_endian 1.0"]:
        raise DataError("not a binary PLY file", file=path, wanted="a file written by write_ply")
    count = next(int(line.split()[2]) for line in header if line.startswith("element vertex"))
    fields = _XYZ + (_RGB if any(line.endswith(" red") for line in header) else [])
    body = content[end + len(b"end_header\n") :]
    if len(body) != count * np.dtype(fields).itemsize:
        raise DataError(f"{len(body)} bytes for {count} points", file=path, wanted="a whole file; write it again")
    records = np.frombuffer(body, fields)
    points = np.stack([records[name] for name, _ in _XYZ], axis=1)
    colors = np.stack([records[name] for name, _ in _RGB], axis=1) if len(fields) > 3 else None
    return PointFile(points, colors)
