"""PCD 0.7, binary: a folder of clouds per clip (:mod:`cosmos_lidar.clips.writers._clouds`)."""

from __future__ import annotations

from pathlib import Path

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.clips.writers._clouds import HOLDS, fields_of, write_clouds, write_records
from cosmos_lidar.clips.writers._contract import Progress, WriteOptions, Written

__all__ = ["DESCRIPTION", "HOLDS", "write_clip"]

DESCRIPTION = "folders of binary .pcd clouds, with stamps, poses and sensor"


def write_clip(clip: Clip, folder: Path, options: WriteOptions, progress: Progress) -> Written:
    """Write the main lidar of a clip to ``folder/CLIP``; raises as :func:`write_clouds`."""
    return write_clouds(clip, folder, progress, ".pcd", _write)


def _write(file: Path, cloud: Sweep) -> None:
    fields = fields_of(cloud)
    names, count = list(fields), str(len(fields["x"]))
    kinds = [values.dtype.str[1:] for values in fields.values()]  # f4, u2, …
    header = {
        "VERSION": ["0.7"],
        "FIELDS": names,
        "SIZE": [kind[1:] for kind in kinds],
        "TYPE": [kind[0].upper() for kind in kinds],
        "COUNT": ["1"] * len(names),
        "WIDTH": [count],
        "HEIGHT": ["1"],
        "VIEWPOINT": ["0 0 0 1 0 0 0"],
        "POINTS": [count],
        "DATA": ["binary"],
    }
    with file.open("wb") as out:
        out.write("".join(f"{key} {' '.join(words)}\n" for key, words in header.items()).encode())
        write_records(out, fields)
