"""A drive segment of Waymo as a clip, whatever layout its parts were read from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip, LidarStream
from cosmos_lidar.clips.readers.waymo.geometry import CAMERAS, LIDARS, LidarGeometry, ego_from_optical
from cosmos_lidar.clips.readers.waymo.sweeps import AsPoints
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.pinhole import PinholeCamera
from cosmos_lidar.sensors.sensor import Sensor

_PERIOD_US = 100_000


@dataclass(frozen=True)
class Segment:
    """What all streams of a segment share.

    Attributes:
        clip_id: of the clip.
        source: file or folder.
        format: name of the reader.
        times_us: (F,) int64, start of each frame, rising.
        world_SE3_ego: (F, 4, 4) the vehicle about the middle of each frame.
    """

    clip_id: str
    source: Path
    format: str
    times_us: np.ndarray
    world_SE3_ego: np.ndarray

    @property
    def spans_us(self) -> np.ndarray:
        """(F, 2) start and end of the sweep of each frame: the next one's start, or one usual step later."""
        steps = np.diff(self.times_us)
        usual = int(np.median(steps)) if len(steps) else _PERIOD_US
        ends = self.times_us + usual
        close = np.flatnonzero(steps < 2 * usual)  # where no frame is missing
        ends[close] = self.times_us[close + 1]
        return np.stack([self.times_us, ends], 1)

    def check_times(self) -> None:
        """Raise a DataError where two frames are of one time."""
        same = np.flatnonzero(np.diff(self.times_us) <= 0)
        if len(same):
            problem = f"two frames at {self.times_us[same[0]]} us"
            raise DataError(problem, file=self.source, clip=self.clip_id, wanted="each frame once")


def lidar_stream(
    segment: Segment,
    geometry: LidarGeometry,
    frames: np.ndarray,
    ends: dict[int, np.ndarray],
    make_read: Callable[[np.ndarray], Callable[[int], Sweep]],
    compensated: bool = True,
) -> LidarStream:
    """Return the stream of a lidar.

    Args:
        segment: that it belongs to.
        geometry: of the lidar.
        frames: (N,) numbers of the frames with a range image.
        ends: frame -> (2, 4, 4) the vehicle at start and end of the sweep, of range images with pixel poses. The
            others are as seen from the pose of the frame.
        make_read: takes the (N, 4, 4) poses of the lidar at the starts and returns ``read``.
        compensated: points of its sweeps lie where they did at the start.
    """
    spans, poses = segment.spans_us[frames], np.repeat(segment.world_SE3_ego[frames, None], 2, axis=1)
    for at, frame in enumerate(frames.tolist()):
        if frame in ends:
            poses[at] = ends[frame]
    if not ends:
        middle = spans.sum(1) // 2
        spans = np.stack([middle, middle + 1], 1)  # a moment; sweeps of no length at all are broken ones elsewhere
    world_SE3_lidar = poses @ geometry.ego_SE3_lidar
    return LidarStream(
        geometry.name,
        geometry.sensor,
        tuple(str(time) for time in segment.times_us[frames].tolist()),
        spans,
        make_read(world_SE3_lidar[:, 0]),
        world_SE3_lidar,
        motion_compensated=compensated,
        ego_SE3_lidar=geometry.ego_SE3_lidar,
    )


def camera_stream(
    segment: Segment,
    name: str,
    times_us: np.ndarray,
    world_SE3_ego: np.ndarray,
    calibration: tuple[tuple[float, ...], tuple[int, int], np.ndarray],
    read: Callable[[int], np.ndarray],
) -> CameraStream:
    """Return the stream of a camera.

    Args:
        segment: that it belongs to.
        name: of the camera.
        times_us: (M,) of the images.
        world_SE3_ego: (M, 4, 4) the vehicle at these times.
        calibration: f_u f_v c_u c_v k1 k2 p1 p2 k3; width and height; (4, 4) mounting with x forward.
        read: image number -> image.

    Raises:
        DataError: no calibration of a camera.
    """
    (fu, fv, cu, cv, *distortion), size, mounting = calibration
    # Waymo counts pixels from the left edge of the first one, this project from its center.
    try:
        model = PinholeCamera(fu, fv, cu - 0.5, cv - 0.5, *size, distortion=tuple(distortion))
    except DataError as error:
        key = f"{name}, {error.key}"
        raise error.at(file=segment.source, clip=segment.clip_id, key=key) from error
    ego_SE3_camera = ego_from_optical(mounting)
    return CameraStream(name, times_us, read, model, world_SE3_ego @ ego_SE3_camera, ego_SE3_camera=ego_SE3_camera)


def make_clip(
    segment: Segment,
    lidars: Iterable[LidarStream],
    cameras: Iterable[CameraStream],
    sensor: Sensor | None,
    remarks: Iterable[str] = (),
) -> Clip:
    """Return the clip of a segment: TOP first, cameras by name.

    Args:
        segment: what they share.
        lidars: in any order, as are ``cameras``.
        cameras: of the vehicle.
        sensor: replaces that of the first lidar.
        remarks: further notes.

    Raises:
        DataError: neither lidar nor camera in it.
    """
    by_name = {one.name: one for one in lidars}
    streams = {name: by_name[name] for name in LIDARS.values() if name in by_name}
    shots = {one.name: one for one in cameras}
    images = {name: shots[name] for name in CAMERAS.values() if name in shots}
    if not streams and not images:
        wanted = "frames with range images or camera images"
        raise DataError("neither lidar nor camera in it", file=segment.source, clip=segment.clip_id, wanted=wanted)
    notes = list(remarks)
    for name, one in streams.items():
        if len(one) < len(segment.times_us):
            notes.append(f"{name}: {len(segment.times_us) - len(one)} of {len(segment.times_us)} frames have no sweep")
    if not streams:
        notes.append("no lidar in it")
    elif len(segment.times_us) == 1:
        notes.append(f"one frame: the end of its sweep is taken to be {_PERIOD_US // 1000} ms after its start")
    if streams:
        main = next(iter(streams))
        lidar_SE3_ego = np.linalg.inv(np.asarray(streams[main].ego_SE3_lidar))
        images = {
            name: replace(one, lidar_SE3_camera=lidar_SE3_ego @ np.asarray(one.ego_SE3_camera))
            for name, one in images.items()
        }
        if sensor is not None:
            streams[main] = _seen_through(streams[main], sensor)
    return Clip(segment.clip_id, segment.source, segment.format, streams, images, tuple(notes))


def _seen_through(stream: LidarStream, sensor: Sensor) -> LidarStream:
    """Return a lidar with another sensor; where its range images do not fit, its sweeps become points."""
    if sensor.shape == stream.sensor.shape:
        return replace(stream, sensor=sensor)
    return replace(stream, sensor=sensor, read=AsPoints(stream.read, stream.sensor))
