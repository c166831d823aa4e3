"""Arrays of numpy: a folder of ``.npz`` clouds per clip (:mod:`cosmos_lidar.clips.writers._clouds`), not compressed.

Arrays are ``points`` (N, 3) float32 and, each where the sweep has it, one (N,) per field.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

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
    points = np.stack([fields.pop(axis) for axis in "xyz"], axis=1)
    arrays: dict[str, Any] = {"points": points, **fields}
    np.savez(file, **arrays)
