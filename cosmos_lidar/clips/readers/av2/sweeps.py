"""Sweeps of one of the two lidars of Argoverse 2, out of the files that hold both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.blocks import blocks, move_points
from cosmos_lidar.clips.feather import read_feather
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.errors import DataError

_COLUMNS = {
    "x": "number",
    "y": "number",
    "z": "number",
    "intensity": "number",
    "laser_number": "integer",
    "offset_ns": "integer",
}


@dataclass(frozen=True)
class Unit:
    """One of the two lidars.

    Attributes:
        name: in the calibration.
        lasers: first and last ``laser_number``.
        starts_us: its sweep starts that long after the moment in the file's name.
        sensor: name of its sensor file.
    """

    name: str
    lasers: tuple[int, int]
    starts_us: int
    sensor: str


LIDARS = (Unit("up_lidar", (0, 31), 2654, "av2_up_vlp32c"), Unit("down_lidar", (32, 63), 5910, "av2_down_vlp32c"))


@dataclass(frozen=True)
class HalfSweeps:
    """``read`` of one of the two lidars.

    Attributes:
        clip_id: for messages.
        files: one per sweep.
        unit: which lidar.
        lidar_SE3_ego: (N, 4, 4), vehicle at the moment in the file's name to the lidar at the start of its sweep.
    """

    clip_id: str
    files: tuple[Path, ...]
    unit: Unit
    lidar_SE3_ego: np.ndarray

    def __call__(self, index: int) -> Sweep:
        """Read sweep ``index``.

        Raises:
            DataError: the file is broken, or holds no point of this lidar, or numbers of lasers beyond 63.
        """
        file = self.files[index]
        columns = read_feather(file, _COLUMNS, self.clip_id)
        laser = columns["laser_number"]
        if len(laser) and not (laser.min() >= 0 and laser.max() <= LIDARS[-1].lasers[1]):
            found = f"{laser.min()} to {laser.max()}"
            raise DataError(found, file=file, clip=self.clip_id, key="laser_number", wanted="numbers from 0 to 63")
        first, last = self.unit.lasers
        own = (laser >= first) & (laser <= last)
        if not own.any():
            problem = f"no point of {self.unit.name} among {len(laser)}"
            wanted = f"points of lasers {first} to {last}"
            raise DataError(problem, file=file, clip=self.clip_id, key="laser_number", wanted=wanted)
        count = int(np.count_nonzero(own))
        for axis in "xyz":
            own &= np.isfinite(columns[axis])
        points = np.empty((int(np.count_nonzero(own)), 3), np.float32)
        for place, axis in enumerate("xyz"):
            points[:, place] = columns.pop(axis)[own]
        move = self.lidar_SE3_ego[index].astype(np.float32)
        move_points(points, move[:3, :3], move[:3, 3])
        offset_ns, time_us = columns.pop("offset_ns")[own], np.empty(len(points), np.int32)
        for part in blocks(len(points)):
            time_us[part] = np.round(offset_ns[part] / 1000.0) - self.unit.starts_us
        del offset_ns
        return Sweep(
            points=points,
            intensity=columns.pop("intensity")[own].astype(np.float32),
            time_us=time_us,
            ring=laser[own].astype(np.uint16),
            without_return=count - len(points),
        )
