"""One recorded drive segment: lidar sweeps, poses, cameras, whatever the dataset it came from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cosmos_lidar.sensors.sensor import Sensor

if TYPE_CHECKING:
    from cosmos_lidar.sensors.ftheta import FThetaCamera
    from cosmos_lidar.sensors.pinhole import PinholeCamera


@dataclass(frozen=True)
class Sweep:
    """One lidar revolution, as a range image, as points, or both; what the recording holds, nothing derived.

    Attributes:
        range_m: (rows, columns) float32 metres, 0 = no return; None where the recording holds points only.
        points: (N, 3) float32 metres in the sensor frame (x forward, y left, z up); None where it holds a range image.
        intensity: float32, shaped as ``range_m`` or (N,), in the units of the dataset; None where absent.
        labels: uint16 semantic class, shaped as ``range_m`` or (N,); None where absent.
    """

    range_m: np.ndarray | None = None
    points: np.ndarray | None = None
    intensity: np.ndarray | None = None
    labels: np.ndarray | None = None


@dataclass(frozen=True)
class CameraStream:
    """The pictures of one camera of a clip.

    Attributes:
        name: the dataset's name of the camera.
        timestamps_us: (M,) int64 microseconds.
        read: picture number -> (H, W, 3) uint8 RGB.
        model: lens; None where the recording has no calibration.
        world_SE3_camera: (M, 4, 4) float64, camera axes x right, y down, z forward; None where unknown.
        lidar_SE3_camera: (4, 4) float64, the mounting: camera axes to lidar axes of a vehicle that stands still; None
            where the recording has poses per picture only.
    """

    name: str
    timestamps_us: np.ndarray
    read: Callable[[int], np.ndarray]
    model: PinholeCamera | FThetaCamera | None = None
    world_SE3_camera: np.ndarray | None = None
    lidar_SE3_camera: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.timestamps_us)


@dataclass(frozen=True)
class Clip:
    """One drive segment. Cheap to make: sweeps and pictures are read when asked for.

    Attributes:
        clip_id: unique name without dots or slashes.
        sensor: the lidar.
        frame_ids: the dataset's own frame names, one per sweep.
        timestamps_us: (N, 2) int64 microseconds, start and end of each sweep.
        read_sweep: sweep number -> :class:`Sweep`.
        source: file or folder the clip comes from, for messages.
        format: name of the reader.
        world_SE3_lidar: (N, 2, 4, 4) float64, lidar to world at start and end of each sweep; None where unknown.
        motion_compensated: the points of each sweep have been moved to where they lay at its start.
        cameras: by name.
        notes: remarks of the reader that `inspect` shows, such as poses that were not found.
    """

    clip_id: str
    sensor: Sensor
    frame_ids: tuple[str, ...]
    timestamps_us: np.ndarray
    read_sweep: Callable[[int], Sweep]
    source: Path
    format: str
    world_SE3_lidar: np.ndarray | None = None
    motion_compensated: bool = False
    cameras: dict[str, CameraStream] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.frame_ids)

    def range_map(self, index: int) -> np.ndarray:
        """Return (rows, columns) float32 metres of sweep ``index``: the recorded range image, else projected points.

        Motion-compensated points are first moved back to where the sensor saw them, when poses are known: a range map
        is what the sensor measured while it moved.
        """
        sweep = self.read_sweep(index)
        if sweep.range_m is not None:
            return sweep.range_m
        return self.project(sweep, index).range_m

    def points(self, index: int) -> np.ndarray:
        """Return (N, 3) float32 metres of sweep ``index``, sensor frame: recorded points, else the range map's."""
        sweep = self.read_sweep(index)
        if sweep.points is not None:
            return sweep.points
        from cosmos_lidar.sensors import range_map_to_points

        return range_map_to_points(sweep.range_m, self.sensor)

    def project(self, sweep: Sweep, index: int):  # noqa: ANN201 - Projection, imported lazily
        """Return the :class:`~cosmos_lidar.sensors.Projection` of a sweep of points: which point is in which pixel."""
        from cosmos_lidar.sensors import decompensate_motion, project_points

        points = sweep.points
        if self.motion_compensated and self.world_SE3_lidar is not None and len(points):
            start, end = self.world_SE3_lidar[index]
            points = decompensate_motion(points, self.sensor, end_SE3_start=np.linalg.inv(end) @ start)
        return project_points(points, self.sensor)
