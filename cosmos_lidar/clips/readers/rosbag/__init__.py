"""ROS bags: rosbag2 folders and files (MCAP, SQLite) and ROS 1 bags, with the library rosbags (extra ``ros``) alone.

Topics of PointCloud2 are lidars, the one with the most points first; topics of Image and CompressedImage are cameras,
with the CameraInfo of the same namespace. Frames have the axes of REP 103: x forward, y left, z up, and of cameras x
right, y down, z forward. The fields of clouds are those of :mod:`cosmos_lidar.clips.point_fields`.

A time is that of the header, and counts as the start of the sweep; where a header has none, times are those of the
recording. Lenses are those of :mod:`~cosmos_lidar.clips.readers.rosbag.lenses`. Poses are those of the frame of the
topic against the root of the tree of transforms, in which odometry stands where no transform does. Where ``base_link``
or ``base_footprint`` is above a sensor and does not move against it, it is the vehicle. Opening walks over the files
once, and reads the heads of messages only, but for compressed chunks, which are unpacked for that.

Not read: other messages (IMU, radar, Livox' own clouds, packets), bags that are compressed file by file or message by
message, encryption, Bayer patterns, depth images, lenses of the rational and the fisheye model.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip, LidarStream
from cosmos_lidar.clips.files import clean_id
from cosmos_lidar.clips.readers._each import OnError, open_each
from cosmos_lidar.clips.readers.rosbag.bag import Bag, find_bags, open_bag
from cosmos_lidar.clips.readers.rosbag.frames import Frames, build_frames, frame_name
from cosmos_lidar.clips.readers.rosbag.lenses import is_rectified, lens_of
from cosmos_lidar.clips.readers.rosbag.messages import (
    CAMERA_INFO,
    CLOUD,
    IMAGE_ENCODINGS,
    IMAGES,
    ODOMETRY,
    OLD_TRANSFORMS,
    TRANSFORMS,
)
from cosmos_lidar.clips.readers.rosbag.streams import CloudMessages, ImageMessages, Stream, in_time_order, largest_first
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.clips.sweep_times import times_of_starts
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.pinhole import PinholeCamera
from cosmos_lidar.sensors.sensor import Sensor, load_sensor

DESCRIPTION = "ROS bags: rosbag2 (MCAP, SQLite) and ROS 1, with PointCloud2, images, and tf or odometry"
EXAMPLE_LAYOUT = """
BAG/metadata.yaml, BAG/BAG_0.mcap                             or .db3

BAG/BAG_0.mcap, BAG/BAG_1.mcap                                without metadata.yaml; or .db3

DRIVE.bag                                                     ROS 1
"""
_DEFAULT_SENSOR = "uniform64"
_VEHICLES = ("base_link", "base_footprint")
_SENSOR_TYPES = (CLOUD, *IMAGES)


def recognise(path: Path) -> Strength:
    """Return EXACT for files ``.bag``, ``.mcap`` and ``.db3``, and folders of them."""
    return Strength.EXACT if find_bags(path) else Strength.NONE


def open_clips(path: Path, sensor: Sensor | None = None, on_error: OnError | None = None) -> list[Clip]:
    """Return one clip per bag; the files of one that was split are one.

    Raises:
        DataError: no bag, a broken one, or one without clouds and images.
        UserError: rosbags is not installed.
    """
    bags = find_bags(path)
    if not bags:
        raise DataError("no bag in it", file=path, wanted="files .bag, .mcap or .db3")
    return open_each((partial(_open, source, files, sensor) for source, files in bags), on_error)


def _open(source: Path, files: list[Path], sensor: Sensor | None) -> Clip:
    name = clean_id(source.resolve().name if source.is_dir() else source.stem)
    bag = open_bag(source, files)
    index = bag.index([topic.name for topic in bag.topics.values() if topic.type in _SENSOR_TYPES])
    streams = [in_time_order(topic, messages) for topic, messages in sorted(index.items()) if messages]
    notes = [f"{one.topic}: times of the recording, headers have none" for one in streams if one.of_bag]
    notes += [f"{one.topic}: {one.dropped} messages of the time of another one" for one in streams if one.dropped]
    clouds = largest_first(streams, bag)
    images = [one for one in streams if bag.topics[one.topic].type in IMAGES]
    unread = [one for one in images if not _readable(bag, one)]
    notes += [f"{one.topic}: images of encoding {one.messages[0].head.encoding!r} are not read" for one in unread]
    images = [one for one in images if one not in unread]
    if not clouds and not images:
        found = ", ".join(f"{topic.name} ({topic.type})" for topic in bag.topics.values()) or "none"
        raise DataError(f"topics {found}"[:2000], file=source, clip=name, wanted=" or ".join(_SENSOR_TYPES))
    frames = _frames(bag)
    if clouds and sensor is None:
        sensor = load_sensor(_DEFAULT_SENSOR)
        notes.append(f"beams are not known: those of {_DEFAULT_SENSOR}")
    lidars = {}
    for one in clouds:
        lidar = _lidar(bag, one, sensor or load_sensor(_DEFAULT_SENSOR), frames, name)
        notes.append(_note_of_poses(one, frames, lidar.world_SE3_lidar))
        lidars[lidar.name] = lidar
    lenses = _lenses(bag, images, notes)
    cameras = {_short(one.topic): _camera(bag, one, lenses.get(one.topic), frames, name) for one in images}
    if clouds:
        lidar_frame, main = frame_name(clouds[0].frame), next(iter(lidars.values()))
        for one in images:
            key = _short(one.topic)
            cameras[key] = _mounted(cameras[key], frames.mounting(frame_name(one.frame), lidar_frame), main)
    return Clip(name, source, "rosbag", lidars, cameras, tuple(notes))


def _readable(bag: Bag, stream: Stream) -> bool:
    compressed = bag.topics[stream.topic].type.endswith("CompressedImage")
    return compressed or stream.messages[0].head.encoding in IMAGE_ENCODINGS


def _short(topic: str) -> str:
    """Return the name of a topic without slashes."""
    return topic.strip("/").replace("/", "_") or "topic"


def _frames(bag: Bag) -> Frames:
    """Return the tree of frames: of transforms, and of the odometry with the most messages."""
    transforms = [one.name for one in bag.topics.values() if one.type in (TRANSFORMS, OLD_TRANSFORMS)]
    odometry = [one.name for one in bag.topics.values() if one.type == ODOMETRY]
    moving = [
        (one, topic.endswith("tf_static"))
        for topic, _, message in bag.messages(transforms)
        for one in message.transforms
    ]
    by_topic: dict[str, list[tuple[Any, int]]] = {name: [] for name in odometry}
    for topic, time_ns, message in bag.messages(odometry):
        by_topic[topic].append((message, time_ns))
    chosen = max(by_topic, key=lambda topic: len(by_topic[topic]), default=None)
    return build_frames(moving, by_topic[chosen] if chosen else [])


def _lidar(bag: Bag, stream: Stream, sensor: Sensor, frames: Frames, clip: str) -> LidarStream:
    times = times_of_starts(stream.times_us, sensor.spin_hz)
    frame = frame_name(stream.frame)
    return LidarStream(
        _short(stream.topic),
        sensor,
        tuple(map(str, stream.times_us)),
        times,
        CloudMessages(stream.read(bag, clip), times),
        _poses(frames, frame, times),
        ego_SE3_lidar=_of_vehicle(frames, frame),
    )


def _poses(frames: Frames, frame: str, times_us: np.ndarray) -> np.ndarray | None:
    world = frames.world(frame)
    return None if world is None else frames.pose(frame, world, times_us * 1000)


def _of_vehicle(frames: Frames, frame: str) -> np.ndarray | None:
    vehicle = next((one for one in _VEHICLES if one in frames.path(frame)), None)
    return None if vehicle is None else frames.mounting(frame, vehicle)


def _note_of_poses(stream: Stream, frames: Frames, poses: np.ndarray | None) -> str:
    frame = frame_name(stream.frame)
    world = frames.world(frame)
    if world is None:
        return f"{stream.topic}: no poses, nothing moves above its frame {frame!r}"
    if poses is None:
        return f"{stream.topic}: no poses, the transforms from {frame!r} to {world!r} are of another time"
    return f"{stream.topic}: poses of {' < '.join(reversed(frames.path(frame)))}"


def _lenses(bag: Bag, images: list[Stream], notes: list[str]) -> dict[str, PinholeCamera]:
    """Return the lens of each camera that has one: of the first CameraInfo in the namespace of its topic."""
    wanted = {one.topic: f"{_namespace(one.topic)}/camera_info" for one in images}
    names = {name for name in wanted.values() if name in bag.topics and bag.topics[name].type == CAMERA_INFO}
    first: dict[str, Any] = {}
    for topic, _, message in bag.messages(names) if names else ():
        first.setdefault(topic, message)
        if len(first) == len(names):
            break
    lenses = {}
    for topic, name in wanted.items():
        if name not in first:
            notes.append(f"{topic}: no calibration, {name} is not there")
            continue
        message = first[name]
        lens, problem = lens_of(message, is_rectified(topic))
        if problem is not None:
            notes.append(f"{topic}: {problem} ({name})")
        if lens is not None:
            lenses[topic] = lens
    return lenses


def _namespace(topic: str) -> str:
    """Return the namespace of an image: ``/cam`` of ``/cam/image_raw`` and of ``/cam/image_raw/compressed``."""
    parent, _, last = topic.rpartition("/")
    return parent.rpartition("/")[0] if last == "compressed" else parent


def _camera(bag: Bag, stream: Stream, lens: PinholeCamera | None, frames: Frames, clip: str) -> CameraStream:
    frame = frame_name(stream.frame)
    return CameraStream(
        _short(stream.topic),
        stream.times_us,
        ImageMessages(stream.read(bag, clip)),
        lens,
        _poses(frames, frame, stream.times_us),
        ego_SE3_camera=_of_vehicle(frames, frame),
    )


def _mounted(camera: CameraStream, mounting: np.ndarray | None, lidar: LidarStream) -> CameraStream:
    """Return a camera with its place in axes of the main lidar; by the vehicle where both are mounted on it."""
    if camera.ego_SE3_camera is not None and lidar.ego_SE3_lidar is not None:
        mounting = np.linalg.inv(lidar.ego_SE3_lidar) @ camera.ego_SE3_camera
    return replace(camera, lidar_SE3_camera=mounting)
