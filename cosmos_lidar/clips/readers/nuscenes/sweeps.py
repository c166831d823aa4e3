"""Sweeps of nuScenes: axes, times, labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cosmos_lidar.arrays import read_npz
from cosmos_lidar.clips.files import PointSweeps
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.sensor import Sensor

LIDAR = "LIDAR_TOP"
COLUMNS, RING_COLUMN = 5, 4
OURS_R_THEIRS = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
_PER_CLASS = 1000


@dataclass(frozen=True)
class PanopticSweeps:
    """``read`` of a lidar whose sweeps may have panoptic labels (nuScenes-panoptic) beside or instead of lidarseg ones.

    Attributes:
        points: reads points, and the classes of lidarseg.
        panoptic: one ``.npz`` or None per sweep: ``data`` (N,) uint16, class times 1000 plus number of the object.
    """

    points: PointSweeps
    panoptic: tuple[Path | None, ...]

    def __call__(self, index: int) -> Sweep:
        """Read sweep ``index``.

        Raises:
            DataError: as of the points, or a panoptic file that is broken or of another sweep.
        """
        (sweep, kept), file = self.points.read_kept(index), self.panoptic[index]
        if file is None:
            return sweep
        both = _read_panoptic(file, len(kept), self.points.clip_id)[kept]
        labels = (both // _PER_CLASS).astype(np.uint16) if sweep.labels is None else sweep.labels
        return replace(sweep, labels=labels, instance=(both % _PER_CLASS).astype(np.uint32))

    def with_columns(self, columns: int) -> PanopticSweeps:
        """Return what reads point files of so many numbers per point."""
        return replace(self, points=self.points.with_columns(columns))

    def problems(self) -> dict[int, str]:
        """Return sweep -> why it cannot be read, as far as the sizes of the files tell."""
        return self.points.problems()


def _read_panoptic(file: Path, count: int, clip: str) -> np.ndarray:
    wanted = f"data, ({count},) integers: class * {_PER_CLASS} + number of the object"
    try:
        both = read_npz(file, ["data"])["data"]
    except (DataError, KeyError) as error:
        problem = error.problem if isinstance(error, DataError) else "no such array"
        raise DataError(f"not readable: {problem}", file=file, clip=clip, key="data", wanted=wanted) from error
    if both.shape != (count,) or both.dtype.kind not in "iu":
        raise DataError(f"{both.dtype} {both.shape}", file=file, clip=clip, key="data", wanted=wanted)
    return both


def sweep_times(end_us: np.ndarray, sensor: Sensor) -> np.ndarray:
    """Return (N, 2): a sweep starts where the one before ended, or one revolution before its end after a pause."""
    spin = round(1e6 / sensor.spin_hz)
    start = end_us - spin
    before = np.concatenate([start[:1], end_us[:-1]])
    start = np.where(np.abs(before - start) < 0.3 * spin, before, start)
    return np.stack([start, end_us], -1).astype(np.int64)
