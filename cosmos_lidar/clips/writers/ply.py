"""PLY 1.0, binary little-endian: a folder of clouds per clip (:mod:`cosmos_lidar.clips.writers._clouds`)."""

from __future__ import annotations

from pathlib import Path

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.clips.writers._clouds import HOLDS, fields_of, write_clouds, write_records
from cosmos_lidar.clips.writers._contract import Progress, WriteOptions, Written

__all__ = ["DESCRIPTION", "HOLDS", "write_clip"]

DESCRIPTION = "folders of binary .ply clouds, with stamps, poses and sensor"
_TYPES = {"f4": "float", "u1": "uchar", "u2": "ushort", "u4": "uint", "i4": "int"}


def write_clip(clip: Clip, folder: Path, options: WriteOptions, progress: Progress) -> Written:
    """Write the main lidar of a clip to ``folder/CLIP``; raises as :func:`write_clouds`."""
    return write_clouds(clip, folder, progress, ".ply", _write)


def _write(file: Path, cloud: Sweep) -> None:
    fields = fields_of(cloud)
    properties = [f"property {_TYPES[values.dtype.str[1:]]} {name}" for name, values in fields.items()]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(fields['x'])}", *properties, "end_header"]
    with file.open("wb") as out:
        out.write("".join(f"{line}\n" for line in header).encode())
        write_records(out, fields)
