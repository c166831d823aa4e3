"""Arrays of numpy: a folder of ``.npz`` clouds per clip (:mod:`cosmos_lidar.clips.writers._clouds`), not compressed.

Arrays are ``points`` (N, 3) float32 and, each where the sweep has it, one (N,) per field.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cosmos_lidar.arrays import write_npz
from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.clips.writers._clouds import HOLDS, fields_of, write_clouds
from cosmos_lidar.clips.writers._contract import Progress, WriteOptions, Written

__all__ = ["DESCRIPTION", "HOLDS", "write_clip"]

DESCRIPTION = "folders of .npz arrays, with stamps, poses and sensor"


def write_clip(clip: Clip, folder: Path, options: WriteOptions, progress: Progress) -> Written:
    """Write the main lidar of a clip to ``folder/CLIP``; raises as :func:`write_clouds`."""
    return write_clouds(clip, folder, progress, ".npz", _write)


def _write(file: Path, cloud: Sweep) -> None:
    fields = fields_of(cloud)
    points = np.zeros((0, 3), "<f4") if cloud.points is None else cloud.points.astype("<f4", order="C", copy=False)
    arrays = {
        "points": points,
        **{name: values for name, values in fields.items() if name not in "xyz"},
    }
    write_npz(file, arrays)
