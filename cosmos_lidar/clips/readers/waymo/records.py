"""Segments of ``Frame`` records as clips: what reads range images and images out of the file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cosmos_lidar.bounds import expect_size
from cosmos_lidar.clips.clip import CameraStream, Clip, LidarStream
from cosmos_lidar.clips.files import clean_id
from cosmos_lidar.clips.images import read_image
from cosmos_lidar.clips.protobuf import FileSource
from cosmos_lidar.clips.readers.waymo.boxes import LabeledBoxes
from cosmos_lidar.clips.readers.waymo.frames import (
    CameraCalibration,
    Frame,
    LaserCalibration,
    ReturnSpans,
    Span,
    read_calibrations,
)
from cosmos_lidar.clips.readers.waymo.geometry import (
    BLOCK_ROWS,
    CAMERAS,
    LIDARS,
    LidarGeometry,
    lidar_geometry,
    sweep_ends,
)
from cosmos_lidar.clips.readers.waymo.matrices import Place, first_floats, float_rows, read_integers, shape_of
from cosmos_lidar.clips.readers.waymo.segment import Segment, camera_stream, lidar_stream, make_clip
from cosmos_lidar.clips.readers.waymo.sweeps import make_return, with_points
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.sensor import Sensor

_CHANNELS, _POSE, _LABELS, _PROJECTION = 4, 6, 2, 6


@dataclass(frozen=True)
class RangeImages:
    """``read`` of a lidar.

    Attributes:
        path: of the file.
        clip_id: for messages.
        geometry: of the lidar.
        records: number of the record of each sweep, for messages.
        returns: first and second returns of each sweep.
        world_SE3_lidar: (N, 4, 4) the lidar at the start of each sweep.
    """

    path: Path
    clip_id: str
    geometry: LidarGeometry
    records: tuple[int, ...]
    returns: tuple[tuple[ReturnSpans, ReturnSpans | None], ...]
    world_SE3_lidar: np.ndarray

    def __call__(self, index: int) -> Sweep:
        """Read sweep ``index`` with both returns.

        Raises:
            DataError: damaged, or of another shape than the first one.
        """
        first, second = self.returns[index]
        with FileSource(self.path) as source:
            sweeps = [self._read(source, index, first, 1)]
            if second is not None:
                sweeps.append(self._read(source, index, second, 2))
            if first.poses is not None:
                place, shape = self._place(index, "range_image_pose"), (*self.geometry.shape, _POSE)
                poses = float_rows(source, *first.poses, shape, BLOCK_ROWS, place)
                sweeps = with_points(sweeps, poses, self.geometry, self.world_SE3_lidar[index])
        return sweeps[0] if second is None else replace(sweeps[0], second_return=sweeps[1])

    def read_first(self, index: int) -> Sweep:
        """Read the first returns of sweep ``index`` alone; errors as of a call."""
        first, _ = self.returns[index]
        return replace(self, returns=((first, None),) * len(self.returns))(index)

    def camera_projections(self, index: int, second: bool = False) -> np.ndarray | None:
        """Return (rows, columns, 6) int32 of the first or second returns of sweep ``index``; None where there are none.

        Values: camera (1 FRONT, 2 FRONT_LEFT, 3 FRONT_RIGHT, 4 SIDE_LEFT, 5 SIDE_RIGHT; 0 none), x and y in its image,
        counted from the left upper edge of the first pixel, and the same of a second camera.

        Raises:
            DataError: damaged.
        """
        spans = self.returns[index][int(second)]
        if spans is None or spans.projection is None:
            return None
        place = self._place(index, "camera_projection")
        with FileSource(self.path) as source:
            content = _content(source, spans.projection, place)
        return read_integers(content, (*self.geometry.shape, _PROJECTION), place)

    def _read(self, source: FileSource, index: int, spans: ReturnSpans, number: int) -> Sweep:
        shape, place = self.geometry.shape, self._place(index, f"ri_return{number}")
        labels = None
        if spans.segmentation is not None:
            labels = read_integers(_content(source, spans.segmentation, place), (*shape, _LABELS), place)
        image = float_rows(source, *spans.image, (*shape, _CHANNELS), BLOCK_ROWS, place)
        return make_return(image, labels, self.geometry, place)

    def _place(self, index: int, what: str) -> Place:
        return Place(self.path, self.clip_id, f"record {self.records[index]}, {self.geometry.name}, {what}")


@dataclass(frozen=True)
class Images:
    """``read`` of a camera: JPEGs inside a file."""

    path: Path
    clip_id: str
    name: str
    records: tuple[int, ...]
    spans: tuple[Span, ...]

    def __call__(self, index: int) -> np.ndarray:
        """Return image ``index`` as (H, W, 3) uint8 RGB.

        Raises:
            DataError: it is damaged.
        """
        place = Place(self.path, self.clip_id, f"record {self.records[index]}, image of {self.name}")
        with FileSource(self.path) as source:
            content = _content(source, self.spans[index], place)
        return read_image(content, file=self.path, clip=self.clip_id, key=place.key)


def open_segment(path: Path, frames: tuple[Frame, ...], sensor: Sensor | None) -> Clip:
    """Return the clip of the frames of one segment, in the order of time.

    Raises:
        DataError: a calibration is missing or broken, or a frame is there twice.
    """
    name = clean_id(frames[0].segment)
    times = np.array([frame.time_us for frame in frames], np.int64)
    poses = np.stack([frame.world_SE3_ego for frame in frames])
    segment = Segment(name, path, "waymo", times, poses)
    segment.check_times()
    lasers, cameras = read_calibrations(path, frames[0])
    with FileSource(path) as source:
        lidars = [
            _lidar(source, segment, frames, number, lasers.get(number))
            for number in LIDARS
            if any(number in frame.lasers for frame in frames)
        ]
    images = [
        _camera(segment, frames, number, cameras.get(number))
        for number in CAMERAS
        if any(number in frame.shots for frame in frames)
    ]
    labeled = np.flatnonzero([frame.labeled for frame in frames])
    middles = segment.spans_us[labeled].sum(1) // 2
    boxes = LabeledBoxes(path, name, tuple(frames[at] for at in labeled), middles) if len(labeled) else None
    return replace(make_clip(segment, lidars, images, sensor), boxes=boxes)


def _lidar(
    source: FileSource, segment: Segment, frames: tuple[Frame, ...], number: int, calibration: LaserCalibration | None
) -> LidarStream:
    if calibration is None:
        raise _uncalibrated(segment, LIDARS[number], "laser_calibrations")
    held = [at for at, frame in enumerate(frames) if number in frame.lasers]
    records = tuple(frames[at].record for at in held)
    returns = tuple(frames[at].lasers[number] for at in held)
    place = Place(segment.source, segment.clip_id, f"record {records[0]}, {LIDARS[number]}")
    shape = shape_of(source, *returns[0][0].image, place)
    rows = len(calibration.inclinations) or (shape[0] if shape else 0)
    if len(shape) != 3 or min(shape) < 1 or shape[0] != rows or shape[2] != _CHANNELS:
        raise place.error(f"a range image of shape {shape}", f"({rows or 'rows'}, columns, {_CHANNELS})")
    geometry = lidar_geometry(number, *calibration, (shape[0], shape[1]))
    if (np.diff(geometry.sensor.row_elevations_rad) >= 0).any():
        raise place.error("beam inclinations that do not rise", "rising inclinations, or their limits")
    ends = {}
    for at, record, (first, _) in zip(held, records, returns, strict=True):
        if first.poses is not None:
            place = Place(segment.source, segment.clip_id, f"record {record}, {LIDARS[number]}, range_image_pose")
            row = first_floats(source, *first.poses, _POSE * shape[1], place).reshape(-1, _POSE)
            found = sweep_ends(row)
            if found is not None:
                ends[at] = found

    def make_read(world_SE3_lidar: np.ndarray) -> RangeImages:
        return RangeImages(segment.source, segment.clip_id, geometry, records, returns, world_SE3_lidar)

    return lidar_stream(segment, geometry, np.array(held), ends, make_read)


def _camera(
    segment: Segment, frames: tuple[Frame, ...], number: int, calibration: CameraCalibration | None
) -> CameraStream:
    name = CAMERAS[number]
    if calibration is None:
        raise _uncalibrated(segment, name, "camera_calibrations")
    held = [frame for frame in frames if number in frame.shots]
    shots = [frame.shots[number] for frame in held]
    read = Images(
        segment.source, segment.clip_id, name, tuple(frame.record for frame in held), tuple(one.jpeg for one in shots)
    )
    times = np.array([one.time_us for one in shots], np.int64)
    return camera_stream(segment, name, times, np.stack([one.world_SE3_ego for one in shots]), calibration, read)


def _uncalibrated(segment: Segment, name: str, field: str) -> DataError:
    wanted = f"{name} in context.{field} of the first frame"
    return DataError(f"no calibration of {name}", file=segment.source, clip=segment.clip_id, key=field, wanted=wanted)


def _content(source: FileSource, span: Span, place: Place) -> bytes:
    size = span[1] - span[0]
    expect_size(size, place.key, file=place.file, clip=place.clip, key=place.key)
    content = source.read(span[0], size)
    if len(content) != size:
        raise place.error(f"{len(content)} of {size} bytes", "the file as it was when it was opened")
    return content
