"""Sweeps of a folder: one file each, read when asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.point_fields import to_sweep
from cosmos_lidar.clips.point_formats import read_fields
from cosmos_lidar.clips.sweep import Sweep


@dataclass(frozen=True)
class CloudFiles:
    """``read`` of a lidar whose sweeps are files of named fields.

    Attributes:
        clip_id: for messages.
        files: one per sweep.
        timestamps_us: (N, 2) start and end of the sweeps.
        origin_m: (3,) subtracted from all coordinates, where they are those of a map; else None.
    """

    clip_id: str
    files: tuple[Path, ...]
    timestamps_us: np.ndarray
    origin_m: np.ndarray | None = None

    def __call__(self, index: int) -> Sweep:
        """Read sweep ``index``.

        Raises:
            DataError: the file is broken, has no x, y, z, or no point.
            UserError: the extra of its format is not installed.
        """
        file = self.files[index]
        times = self.timestamps_us[index]
        fields = read_fields(file, self.clip_id, used=True, origin_m=self.origin_m)
        return to_sweep(fields, times, file=file, clip=self.clip_id)
