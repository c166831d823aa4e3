"""Sweeps of the lidars of nuPlan, out of the files that hold all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.blocks import move_points
from cosmos_lidar.clips.point_fields import PointFields, to_sweep
from cosmos_lidar.clips.point_formats.pcd import read
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.fit.mounting import fit_mounting

LIDARS = ("top", "side_left", "side_right", "back", "front")  # by the number in lidar_info
MERGED = "merged"
_NUMBER, _RING = "lidar_info", "ring"


@dataclass(frozen=True, eq=False)
class RigLidar:
    """A lidar of a vehicle, as one of its clouds shows it.

    Attributes:
        name: of the lidar.
        number: in ``lidar_info``; None where clouds have no such field.
        ego_SE3_lidar: (4, 4), fitted to the rings; None where those do not determine it.
        rings: number of beams; 0 where clouds have no rings.
        elevations_rad: the lowest and the highest point, in axes of the lidar or else of the vehicle.
    """

    name: str
    number: int | None
    ego_SE3_lidar: np.ndarray | None
    rings: int
    elevations_rad: tuple[float, float]


def read_rig(file: Path, ego_SE3_cloud: np.ndarray, clip: str) -> list[RigLidar]:
    """Return the lidars that a cloud holds, the top one first.

    Raises:
        DataError: a broken file, or numbers of lidars that nuPlan does not have.
    """
    fields = read(file, clip)
    if _NUMBER not in fields.columns:
        return [_rig_lidar(MERGED, None, fields, file, ego_SE3_cloud, clip)]
    present = np.unique(fields.columns[_NUMBER])
    if not len(present) or not np.isin(present, range(len(LIDARS))).all():
        problem = f"lidars {present[:8].tolist()}"
        raise DataError(problem, file=file, clip=clip, key=_NUMBER, wanted=f"0 to {len(LIDARS) - 1}")
    return [_rig_lidar(LIDARS[number], number, fields, file, ego_SE3_cloud, clip) for number in present.astype(int)]


def _rig_lidar(
    name: str, number: int | None, fields: PointFields, file: Path, ego_SE3_cloud: np.ndarray, clip: str
) -> RigLidar:
    sweep = to_sweep(_of_lidar(fields, number), np.zeros(2), file=file, clip=clip)
    points = np.asarray(sweep.points) @ ego_SE3_cloud[:3, :3].T + ego_SE3_cloud[:3, 3]
    fitted = None if sweep.ring is None or number is None else fit_mounting(points, sweep.ring)
    mount = None if fitted is None else fitted.body_SE3_lidar
    if mount is not None:
        points = (points - mount[:3, 3]) @ mount[:3, :3]
    elevation = np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1]))
    span = (float(elevation.min()), float(elevation.max())) if len(elevation) else (-math.pi / 4, math.pi / 4)
    rings = int(sweep.ring.max()) + 1 if sweep.ring is not None and len(sweep.ring) else 0
    return RigLidar(name, number, mount, rings, span)


def _of_lidar(fields: PointFields, number: int | None) -> PointFields:
    if number is None:
        return fields
    own = fields.columns[_NUMBER] == number
    return PointFields({name: values[own] for name, values in fields.columns.items()})


@dataclass(frozen=True)
class MergedSweeps:
    """``read`` of a lidar of a log.

    Attributes:
        clip_id: for messages.
        files: one per sweep.
        number: of the lidar in ``lidar_info``; None: all points.
        lidar_SE3_cloud: (4, 4), axes of the files to those of the lidar.
        timestamps_us: (N, 2) start and end of the sweeps.
    """

    clip_id: str
    files: tuple[Path, ...]
    number: int | None
    lidar_SE3_cloud: np.ndarray
    timestamps_us: np.ndarray

    def __call__(self, index: int) -> Sweep:
        """Read sweep ``index``.

        Raises:
            DataError: the file is broken, or holds no point of this lidar.
        """
        file = self.files[index]
        fields = read(file, self.clip_id)
        if self.number is not None and _NUMBER not in fields.columns:
            found = ", ".join(fields.columns)
            raise DataError(f"fields {found}", file=file, clip=self.clip_id, key=_NUMBER, wanted="as other clouds have")
        own = _of_lidar(fields, self.number)
        if len(fields) and not len(own):
            problem, wanted = f"no point of this lidar among {len(fields)}", f"points with {self.number}"
            raise DataError(problem, file=file, clip=self.clip_id, key=_NUMBER, wanted=wanted)
        sweep = to_sweep(own, self.timestamps_us[index], file=file, clip=self.clip_id)
        move = self.lidar_SE3_cloud.astype(np.float32)
        points = np.asarray(sweep.points)
        move_points(points, move[:3, :3], move[:3, 3])
        return Sweep(points=points, intensity=sweep.intensity, ring=sweep.ring, without_return=sweep.without_return)
