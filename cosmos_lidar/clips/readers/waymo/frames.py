"""``Frame`` records of Waymo Open v1: where images and range images lie in a file, without reading them.

Field numbers are those of the published ``dataset.proto``. A record is walked by its lengths: a few blocks of 4 KB of
its 5 MB are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cosmos_lidar.clips.protobuf import FileSource, Message
from cosmos_lidar.clips.readers.waymo.geometry import CAMERAS, LIDARS
from cosmos_lidar.clips.tfrecord import Record, index_records
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.rigid import pose_of_file

Span = tuple[int, int]


class ReturnSpans(NamedTuple):
    """Where the compressed matrices of one return of a lidar lie in the file.

    Attributes:
        image: range, intensity, elongation, no-label zone.
        projection: pixels of cameras; None where there is none.
        poses: pixel poses; None where there are none.
        segmentation: instance and class; None where there is none.
    """

    image: Span
    projection: Span | None
    poses: Span | None
    segmentation: Span | None


class Shot(NamedTuple):
    """One image: where its JPEG lies, when it was taken (microseconds), and the vehicle's (4, 4) pose at that time."""

    jpeg: Span
    time_us: int
    world_SE3_ego: np.ndarray


@dataclass(frozen=True)
class Frame:
    """One record.

    Attributes:
        record: number of the record in its file.
        place: of the record.
        segment: name of the drive segment.
        time_us: start of the sweep of TOP, microseconds.
        world_SE3_ego: (4, 4) the vehicle about the middle of the frame.
        lasers: lidar -> first and second returns, of lidars with a range image.
        shots: camera -> image.
        labeled: there are boxes in it.
    """

    record: int
    place: Record
    segment: str
    time_us: int
    world_SE3_ego: np.ndarray
    lasers: dict[int, tuple[ReturnSpans, ReturnSpans | None]]
    shots: dict[int, Shot]
    labeled: bool = False


class LaserCalibration(NamedTuple):
    """Of one lidar: inclinations (rows,) rising, or none; lowest and highest one; (4, 4) mounting."""

    inclinations: np.ndarray
    limits: tuple[float, float]
    ego_SE3_laser: np.ndarray


class CameraCalibration(NamedTuple):
    """Of one camera: f_u f_v c_u c_v k1 k2 p1 p2 k3, width, height, (4, 4) mounting with x forward."""

    intrinsics: tuple[float, ...]
    size: tuple[int, int]
    ego_SE3_camera: np.ndarray


def read_frames(path: Path) -> list[Frame]:
    """Return the frames of a file, in the order of time.

    Raises:
        DataError: no TFRecord file, or a record that is no ``Frame``.
    """
    records = index_records(path)
    try:
        with FileSource(path) as source:
            frames = [_frame(source, record, number, path) for number, record in enumerate(records)]
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=path) from error
    return sorted(frames, key=lambda frame: (frame.segment, frame.time_us))


def _frame(source: FileSource, place: Record, number: int, path: Path) -> Frame:
    message = Message(source, *place, f"record {number}: Frame", path)
    context, time_us = message.message(1, "context"), message.integer(2, "timestamp_micros")
    segment = None if context is None else context.text(1, "name")
    if segment is None or time_us is None:
        missing = "context.name" if segment is None else "timestamp_micros"
        raise DataError(f"no {missing}", file=path, key=message.name, wanted="a Frame of Waymo Open v1")
    lasers = {}
    for laser in message.messages(5, "lasers"):
        name, first = laser.integer(1, "name"), _return(laser, 2, "ri_return1")
        if first is not None:
            lasers[_known(name, LIDARS, laser)] = (first, _return(laser, 3, "ri_return2"))
    shots = {}
    for image in message.messages(4, "images"):
        shot = _shot(image)
        if shot is not None:
            shots[_known(image.integer(1, "name"), CAMERAS, image)] = shot
    pose, labeled = _transform(message, 3, "pose"), bool(message.messages(6, "laser_labels"))
    return Frame(number, place, segment, time_us, pose, lasers, shots, labeled)


def _return(laser: Message, number: int, name: str) -> ReturnSpans | None:
    message = laser.message(number, name)
    image = None if message is None else message.span(2, "range_image_compressed")
    if message is None or image is None:
        return None
    return ReturnSpans(
        image,
        message.span(3, "camera_projection_compressed"),
        message.span(4, "range_image_pose_compressed"),
        message.span(6, "segmentation_label_compressed"),
    )


def _shot(image: Message) -> Shot | None:
    jpeg, time_s = image.span(2, "image"), image.double(5, "pose_timestamp")
    if jpeg is None:
        return None
    if time_s is None or not 0 <= time_s < 1e11:
        problem = f"pose_timestamp {time_s}"
        raise DataError(problem, file=image.file, key=image.name, wanted="seconds since 1970")
    return Shot(jpeg, round(time_s * 1e6), _transform(image, 3, "pose"))


def _known(number: int | None, names: dict[int, str], message: Message) -> int:
    if number not in names:
        known = ", ".join(f"{key} {name}" for key, name in names.items())
        raise DataError(f"name {number}", file=message.file, key=message.name, wanted=f"one of: {known}")
    return number


def _transform(message: Message, number: int, name: str) -> np.ndarray:
    """Return the (4, 4) pose of a ``Transform`` field."""
    inner = message.message(number, name)
    values = np.zeros(0) if inner is None else inner.doubles(1, "transform")
    square = values.reshape(4, 4) if len(values) == 16 else values
    return pose_of_file(square, str(message.file), f"{message.name}.{name}", "to the axes of the vehicle or the world")


def read_calibrations(path: Path, frame: Frame) -> tuple[dict[int, LaserCalibration], dict[int, CameraCalibration]]:
    """Return the calibrations of lidars and of cameras that a frame holds.

    Raises:
        DataError: one is broken.
    """
    with FileSource(path) as source:
        message = Message(source, *frame.place, f"record {frame.record}: Frame", path)
        context = message.message(1, "context")
        assert context is not None  # read_frames has read its name
        cameras = {}
        for one in context.messages(2, "camera_calibrations"):
            cameras[_known(one.integer(1, "name"), CAMERAS, one)] = _camera(one)
        lasers = {}
        for one in context.messages(3, "laser_calibrations"):
            lasers[_known(one.integer(1, "name"), LIDARS, one)] = _laser(one)
    return lasers, cameras


def _camera(message: Message) -> CameraCalibration:
    intrinsics = message.doubles(2, "intrinsic")
    if len(intrinsics) != 9 or not np.isfinite(intrinsics).all():
        problem = f"{len(intrinsics)} intrinsics"
        wanted = "f_u f_v c_u c_v k1 k2 p1 p2 k3"
        raise DataError(problem, file=message.file, key=message.name, wanted=wanted)
    size = message.integer(4, "width") or 0, message.integer(5, "height") or 0
    return CameraCalibration(tuple(intrinsics.tolist()), size, _transform(message, 3, "extrinsic"))


def _laser(message: Message) -> LaserCalibration:
    limits = tuple(message.double(number, "beam_inclination") or 0.0 for number in (3, 4))
    return LaserCalibration(
        message.doubles(2, "beam_inclinations"), (limits[0], limits[1]), _transform(message, 5, "extrinsic")
    )
