"""De-skew toward the sensor: points moved to where the lidar saw them while it moved, and back.

A dataset that compensates for motion moves every point to where it lay in the lidar's axes at one reference time
(start, middle or end of the sweep). In a range map of such points near objects cover far ones that the lidar saw beside
them, and the far ones are lost. Each point is therefore moved on to the lidar's axes at its own time:
``inv(world_SE3_lidar(t_point)) @ world_SE3_lidar(t_reference)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cosmos_lidar.clips.blocks import blocks
from cosmos_lidar.clips.trajectory import Trajectory
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.motion import column_fraction, compensate_motion, decompensate_motion
from cosmos_lidar.sensors.sensor import Sensor

_INTERVALS = 1024  # of a sweep: poses between them are blended matrices, off by under 1e-6 of the range at 10 rad/s
_POSES = 1 << 11  # of points at a time: each takes some hundred bytes
_FIXED_POINT_STEPS = 6  # each round shrinks the error by (motion / range)


@dataclass(frozen=True)
class SweepMotion:
    """How a lidar moved during one sweep.

    Attributes:
        sensor: the lidar; gives the time of a point by its azimuth.
        start_us: start of the sweep.
        end_us: end of the sweep.
        trajectory: of the lidar.
        reference_us: time of the axes in which compensated points are.
    """

    sensor: Sensor
    start_us: int
    end_us: int
    trajectory: Trajectory
    reference_us: int

    def as_seen(
        self, points: np.ndarray, time_us: np.ndarray | None = None, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Return compensated points where the lidar saw them.

        Args:
            points: (N, 3) meters, in the lidar's axes at ``reference_us``.
            time_us: (N,) microseconds after the start of the sweep; None: by azimuth.
            out: where they go to, (N, 3) of the dtype of ``points``, or ``points`` themselves; None: a new array.

        Returns:
            (N, 3) of the dtype of ``points``, each in the lidar's axes at its own time.
        """
        if self._published:
            return self._straight(decompensate_motion, points, time_us, out)
        if time_us is not None:
            return self._move(points, np.asarray(time_us), False, np.empty_like(points) if out is None else out)
        seen = still = np.asarray(points, np.float64)
        for _ in range(_FIXED_POINT_STEPS):
            seen = self._move(still, self._times(seen), False, np.empty_like(still))
        if out is None:
            return seen.astype(points.dtype)
        out[:] = seen
        return out

    def compensated(
        self, points: np.ndarray, time_us: np.ndarray | None = None, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Return points in the lidar's axes at ``reference_us``: the inverse of :meth:`as_seen`."""
        if self._published:
            return self._straight(compensate_motion, points, time_us, out)
        times = self._times(np.asarray(points, np.float64)) if time_us is None else np.asarray(time_us)
        return self._move(points, times, True, np.empty_like(points) if out is None else out)

    @property
    def _published(self) -> bool:
        """Straight motion from start to end, to the axes of the start: the published compensation, which is exact."""
        ends = [self.start_us, self.end_us]
        return self.reference_us == ends[0] and np.array_equal(self.trajectory.times_us, ends)

    def _straight(
        self,
        move: Callable[..., Any],
        points: np.ndarray,
        time_us: np.ndarray | None,
        out: np.ndarray | None,
    ) -> np.ndarray:
        end_SE3_start = self._end_SE3_start()
        moved = np.empty(np.shape(points), points.dtype) if out is None else out
        for part in blocks(len(points)):
            times = None if time_us is None else time_us[part]
            moved[part] = move(points[part], self.sensor, end_SE3_start, self._share(times))
        return moved

    def _end_SE3_start(self) -> np.ndarray:
        start, end = self.trajectory.world_SE3_body
        return np.linalg.inv(end) @ start

    def _share(self, time_us: np.ndarray | None) -> np.ndarray | None:
        return None if time_us is None else time_us / float(self.end_us - self.start_us)

    def _times(self, seen: np.ndarray) -> np.ndarray:
        return np.asarray(column_fraction(seen, self.sensor)) * float(self.end_us - self.start_us)

    def _move(self, points: np.ndarray, times: np.ndarray, to_reference: bool, moved: np.ndarray) -> np.ndarray:
        """Move points (N, 3) to ``moved``; poses, 16 numbers for each point, are those of some points at a time."""
        if not len(points):
            return moved
        first = int(np.floor(times.min()))
        step = max(1, int(np.ceil((times.max() - first) / _INTERVALS)))
        moments = self.start_us + first + step * np.arange(int((times.max() - first) / step) + 2)
        table = np.linalg.inv(self.trajectory.at(np.array([self.reference_us]))) @ self.trajectory.at(moments)
        if not to_reference:
            table = np.linalg.inv(table)
        for part in blocks(len(points), _POSES):
            place = (times[part] - np.float64(first)) / step
            before = place.astype(np.int64)
            pose = table[before, :3]
            pose += (place - before)[:, None, None] * (table[before + 1, :3] - pose)
            turned = np.einsum("nij,nj->ni", pose[:, :, :3], points[part].astype(np.float64))
            moved[part] = turned + pose[:, :, 3]
        return moved


def sweep_motion(
    sensor: Sensor,
    start_end_us: np.ndarray,
    trajectory: Trajectory | None = None,
    world_SE3_lidar: np.ndarray | None = None,
    reference_us: int | None = None,
) -> SweepMotion:
    """Return the motion during one sweep.

    Args:
        sensor: the lidar.
        start_end_us: (2,) start and end of the sweep.
        trajectory: of the lidar; None for straight motion between the two poses.
        world_SE3_lidar: (2, 4, 4) at start and end; needed without ``trajectory``.
        reference_us: time of the axes of compensated points; None for the start of the sweep.

    Raises:
        DataError: neither trajectory nor poses.
    """
    start, end = (int(time) for time in start_end_us)
    if trajectory is None:
        if world_SE3_lidar is None:
            raise DataError("no poses of the lidar", wanted="a trajectory, or poses at start and end of the sweep")
        trajectory = Trajectory(np.asarray(world_SE3_lidar), np.array([start, end]))
    return SweepMotion(sensor, start, end, trajectory, start if reference_us is None else reference_us)
