"""One recorded drive segment: lidars, cameras, poses, whatever the dataset it came from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cosmos_lidar.clips.deskew import SweepMotion, sweep_motion
from cosmos_lidar.clips.finding import Finding
from cosmos_lidar.clips.sweep import Sweep, points_of, to_points
from cosmos_lidar.clips.trajectory import Trajectory
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.sensor import Sensor

if TYPE_CHECKING:
    from cosmos_lidar.clips.boxes import Boxes
    from cosmos_lidar.sensors import Projection
    from cosmos_lidar.sensors.ftheta import FThetaCamera
    from cosmos_lidar.sensors.pinhole import PinholeCamera

__all__ = ["CameraStream", "Clip", "LidarStream", "Sweep", "one_lidar_clip"]

_OF_ONE_LIDAR = ("sensor", "frame_ids", "timestamps_us", "read_sweep", "world_SE3_lidar", "motion_compensated")


@dataclass(frozen=True)
class LidarStream:
    """The sweeps of one lidar of a clip, at its own rate and on its own clock.

    Attributes:
        name: the dataset's name of the lidar.
        sensor: its beams; what range maps of this lidar look like.
        frame_ids: the dataset's own frame names, one per sweep.
        timestamps_us: (N, 2) int64 microseconds, start and end of each sweep; starts increase.
        read: sweep number -> :class:`Sweep`.
        world_SE3_lidar: (N, 2, 4, 4) float64, lidar to world at start and end of each sweep; None where unknown.
        motion_compensated: the points of each sweep have been moved to where they lay at one time: its start, or what
            ``reference_us`` names.
        ego_SE3_lidar: (4, 4) float64, the mounting: lidar axes to the axes of the vehicle as the dataset has them
            (x forward, y left, z up); None where unknown.
        image_numbers: (N,) int64, the number of the image, of each camera, that the recording itself names for each
            sweep (``frame_indices`` of the published layout); None where it names none.
        reference_us: (N,) int64 microseconds, the time of the lidar's axes that motion-compensated points of each sweep
            are in; None: the starts of the sweeps.
        trajectory: poses of the lidar between start and end of its sweeps; None: straight motion between both.
    """

    name: str
    sensor: Sensor
    frame_ids: tuple[str, ...]
    timestamps_us: np.ndarray
    read: Callable[[int], Sweep]
    world_SE3_lidar: np.ndarray | None = None
    motion_compensated: bool = False
    ego_SE3_lidar: np.ndarray | None = None
    image_numbers: np.ndarray | None = None
    reference_us: np.ndarray | None = None
    trajectory: Trajectory | None = None

    def __len__(self) -> int:
        return len(self.frame_ids)

    @property
    def rate_hz(self) -> float | None:
        """Sweeps per second by the median step of their starts; None for fewer than two sweeps."""
        steps = np.diff(self.timestamps_us[:, 0])
        return 1e6 / float(np.median(steps)) if len(steps) and np.median(steps) > 0 else None

    def motion(self, index: int) -> SweepMotion | None:
        """Return how the lidar moved during sweep ``index``, which moves points to where it saw them and back.

        None where poses are not known.
        """
        if self.trajectory is None and self.world_SE3_lidar is None:
            return None
        return sweep_motion(self.sensor, self.timestamps_us[index], self.trajectory,
                            None if self.world_SE3_lidar is None else self.world_SE3_lidar[index],
                            None if self.reference_us is None else int(self.reference_us[index]))  # fmt: skip

    def range_map(self, index: int) -> np.ndarray:
        """Return (rows, columns) float32 meters of sweep ``index``: the recorded range image, else projected points.

        Motion-compensated points are first moved back to where the sensor saw them, when poses are known: a range map
        is what the sensor measured while it moved.
        """
        sweep = self.read(index)
        if sweep.range_m is not None:
            return sweep.range_m
        return np.asarray(self.project(sweep, index).range_m)

    def points(self, index: int) -> np.ndarray:
        """Return (N, 3) float32 meters of sweep ``index``, sensor frame: recorded points, else the range map's."""
        return points_of(self.read(index), self.sensor)

    def cloud(self, index: int) -> Sweep:
        """Return sweep ``index`` as points with their values, all returns, in the sensor frame."""
        return to_points(self.read(index), self.sensor)

    def project(self, sweep: Sweep, index: int) -> Projection:
        """Return the :class:`~cosmos_lidar.sensors.Projection` of a sweep of points: which point is in which pixel.

        With several returns per pulse, the first ones are projected. The time of each point, where the sweep has it,
        says how far the sensor had moved; else the azimuth of the point does.

        Raises:
            DataError: the sweep holds no points.
        """
        from cosmos_lidar.sensors import project_points

        if sweep.points is None:
            raise DataError("a range image", key=f"sweep {index} of lidar {self.name}", wanted="a sweep of points")
        points, time_us, chosen = sweep.points, sweep.time_us, None
        if sweep.returns is not None:
            chosen = np.flatnonzero(sweep.returns == 1)
            points, time_us = points[chosen], None if time_us is None else time_us[chosen]
        motion = self.motion(index) if self.motion_compensated and len(points) else None
        if motion is not None:
            points = motion.as_seen(points, time_us)
        found = project_points(points, self.sensor)
        if chosen is None or not len(chosen):
            return found
        return found._replace(point_index=np.where(found.point_index >= 0, chosen[found.point_index], -1))


@dataclass(frozen=True)
class CameraStream:
    """The images of one camera of a clip, at its own rate and on its own clock.

    Attributes:
        name: the dataset's name of the camera.
        timestamps_us: (M,) int64 microseconds.
        read: image number -> (H, W, 3) uint8 RGB.
        model: lens; None where the recording has no calibration.
        world_SE3_camera: (M, 4, 4) float64, camera axes x right, y down, z forward; None where unknown.
        lidar_SE3_camera: (4, 4) float64, the mounting: camera axes to axes of the clip's first lidar of a vehicle that
            stands still; None where the recording has poses per image only, or no lidar.
        ego_SE3_camera: (4, 4) float64, the mounting in the axes of the vehicle, as ``LidarStream.ego_SE3_lidar``.
    """

    name: str
    timestamps_us: np.ndarray
    read: Callable[[int], np.ndarray]
    model: PinholeCamera | FThetaCamera | None = None
    world_SE3_camera: np.ndarray | None = None
    lidar_SE3_camera: np.ndarray | None = None
    ego_SE3_camera: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.timestamps_us)


@dataclass(frozen=True)
class Clip:
    """One drive segment. Cheap to make: sweeps and images are read when asked for.

    Lidars and cameras each have their own clock and rate. The **first** lidar is the main one: ``clip.lidar``, and
    ``sensor``, ``frame_ids``, ``timestamps_us``, ``read_sweep``, ``world_SE3_lidar``, ``motion_compensated``,
    ``range_map``, ``points``, ``project`` and ``len`` are its. :meth:`choose_lidar` makes another one the first.

    Attributes:
        clip_id: unique name without dots or slashes.
        source: file or folder the clip comes from, for messages.
        format: name of the reader.
        lidars: by name, the main one first; empty for a recording of cameras alone.
        cameras: by name; empty for a recording of lidars alone.
        notes: remarks of the reader that `inspect` shows, such as poses that were not found.
        findings: contradictions in the files that the reader met, with evidence; `inspect` shows them with its own.
        boxes: time in microseconds -> :class:`~cosmos_lidar.clips.boxes.Boxes` of the objects around; None where the
            reader has none.
        lane_lines: returns the lane lines of the map, (P, 3) float64 meters in the world each; None where the reader
            has none.
    """

    clip_id: str
    source: Path
    format: str
    lidars: dict[str, LidarStream] = field(default_factory=dict)
    cameras: dict[str, CameraStream] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    boxes: Callable[[int], Boxes] | None = None
    lane_lines: Callable[[], list[np.ndarray]] | None = None

    def __new__(cls, *args: object, **kwargs: object) -> Clip:
        """Refuse the arguments of a clip of one lidar: they name :func:`one_lidar_clip` and :meth:`with_lidar`."""
        if any(name in kwargs for name in _OF_ONE_LIDAR) or (len(args) > 1 and isinstance(args[1], Sensor)):
            raise TypeError(
                "Clip takes lidars by name: one_lidar_clip(clip_id, sensor, frame_ids, timestamps_us, read_sweep, "
                "source, format, …) makes a clip of one lidar, clip.with_lidar(sensor=…) changes its lidar"
            )
        return super().__new__(cls)

    @property
    def lidar(self) -> LidarStream:
        """The main lidar.

        Raises:
            DataError: the clip has no lidar.
        """
        for stream in self.lidars.values():
            return stream
        wanted = "a recording with a lidar; this one has cameras alone"
        raise DataError("no lidar in it", file=self.source, clip=self.clip_id, wanted=wanted)

    def with_lidar(self, **changes: Any) -> Clip:
        """Return this clip with fields of its main lidar replaced; ``read_sweep`` is another name of ``read``."""
        if "read_sweep" in changes:
            changes["read"] = changes.pop("read_sweep")
        main = self.lidar
        changed = {name: replace(one, **changes) if one is main else one for name, one in self.lidars.items()}
        return replace(self, lidars=changed)

    def choose_lidar(self, name: str) -> Clip:
        """Return this clip with lidar ``name`` as the main one; mountings of cameras are those relative to it.

        Raises:
            DataError: there is no such lidar.
        """
        if name not in self.lidars:
            found = ", ".join(self.lidars) or "none"
            raise DataError(f"no lidar {name!r}", file=self.source, clip=self.clip_id, wanted=f"one of: {found}")
        if name == next(iter(self.lidars)):
            return self
        lidars = {name: self.lidars[name], **{other: one for other, one in self.lidars.items() if other != name}}
        cameras = {key: _remounted(camera, self.lidar, lidars[name]) for key, camera in self.cameras.items()}
        return replace(self, lidars=lidars, cameras=cameras)

    def __len__(self) -> int:
        return len(self.lidar) if self.lidars else 0

    @property
    def sensor(self) -> Sensor:
        """The beams of the main lidar."""
        return self.lidar.sensor

    @property
    def frame_ids(self) -> tuple[str, ...]:
        """Frame names of the main lidar."""
        return self.lidar.frame_ids

    @property
    def timestamps_us(self) -> np.ndarray:
        """(N, 2) start and end of the sweeps of the main lidar, microseconds."""
        return self.lidar.timestamps_us

    @property
    def read_sweep(self) -> Callable[[int], Sweep]:
        """Sweep number -> :class:`Sweep` of the main lidar."""
        return self.lidar.read

    @property
    def world_SE3_lidar(self) -> np.ndarray | None:
        """(N, 2, 4, 4) poses of the main lidar, or None."""
        return self.lidar.world_SE3_lidar

    @property
    def motion_compensated(self) -> bool:
        """Whether points of the main lidar have been moved to where they lay at one time of each sweep."""
        return self.lidar.motion_compensated

    def range_map(self, index: int) -> np.ndarray:
        """Return (rows, columns) meters of sweep ``index`` of the main lidar, see :meth:`LidarStream.range_map`."""
        return self.lidar.range_map(index)

    def points(self, index: int) -> np.ndarray:
        """Return (N, 3) meters of sweep ``index`` of the main lidar, see :meth:`LidarStream.points`."""
        return self.lidar.points(index)

    def project(self, sweep: Sweep, index: int) -> Projection:
        """Return which point of a sweep of the main lidar is in which pixel, see :meth:`LidarStream.project`."""
        return self.lidar.project(sweep, index)


def one_lidar_clip(
    clip_id: str,
    sensor: Sensor,
    frame_ids: tuple[str, ...],
    timestamps_us: np.ndarray,
    read_sweep: Callable[[int], Sweep],
    source: Path,
    format: str,
    world_SE3_lidar: np.ndarray | None = None,
    motion_compensated: bool = False,
    cameras: dict[str, CameraStream] | None = None,
    notes: tuple[str, ...] = (),
    *,
    name: str = "lidar",
    ego_SE3_lidar: np.ndarray | None = None,
) -> Clip:
    """Return a clip of one lidar; arguments as the attributes of :class:`LidarStream` and :class:`Clip`.

    Args:
        clip_id: unique name without dots or slashes.
        sensor: beams of the lidar.
        frame_ids: frame names, one per sweep.
        timestamps_us: (N, 2) start and end of each sweep.
        read_sweep: sweep number -> :class:`Sweep`.
        source: file or folder, for messages.
        format: name of the reader.
        world_SE3_lidar: (N, 2, 4, 4) poses, or None.
        motion_compensated: points lie where they were at the start of their sweep.
        cameras: by name.
        notes: remarks of the reader.
        name: of the lidar.
        ego_SE3_lidar: (4, 4) mounting, or None.
    """
    stream = LidarStream(
        name, sensor, frame_ids, timestamps_us, read_sweep, world_SE3_lidar, motion_compensated, ego_SE3_lidar
    )
    return Clip(clip_id, source, format, {name: stream}, {} if cameras is None else cameras, notes)


def _remounted(camera: CameraStream, before: LidarStream, now: LidarStream) -> CameraStream:
    """Return a camera whose ``lidar_SE3_camera`` is relative to another lidar; None where that is not known."""
    mounting = None
    if now.ego_SE3_lidar is not None:
        ego_SE3_camera = camera.ego_SE3_camera
        if ego_SE3_camera is None and camera.lidar_SE3_camera is not None and before.ego_SE3_lidar is not None:
            ego_SE3_camera = before.ego_SE3_lidar @ camera.lidar_SE3_camera
        mounting = None if ego_SE3_camera is None else np.linalg.inv(now.ego_SE3_lidar) @ ego_SE3_camera
    return replace(camera, lidar_SE3_camera=mounting)
