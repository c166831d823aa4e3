"""MCAP bags of ROS 2: a bag per clip, by the library rosbags (extra ``ros``), as the reader ``rosbag`` takes it.

::

    CLIP/metadata.yaml, CLIP/CLIP.mcap
    /LIDAR/points                       PointCloud2 at the starts of sweeps
    /CAMERA/image_raw/compressed        CompressedImage: JPEG, the recording's own or of quality 95
    /CAMERA/camera_info                 CameraInfo of each image (plumb_bob), where the lens is a pinhole
    /tf, /tf_static                     map > base_link > sensors

Fields of clouds are x y z, intensity (float32), ring (uint16), ``time`` (float32 seconds after the stamp), label
(uint16), instance (uint32) and return_number (uint8), each where the sweep has it. Points that were compensated for
motion are moved back to where the lidar saw them, as drivers give them. Stamps are starts of sweeps and times of
images; messages are in their order, and recorded at their stamps.

``base_link`` is the vehicle, whose pose stands at starts and ends of sweeps and at the times of the trajectory between
them. Sensors that are mounted on it are static; where the mounting of the lidar is not known it hangs on ``map``
itself, and so does a sensor that has nothing but poses. Names that ROS does not allow are changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip, LidarStream
from cosmos_lidar.clips.readers.rosbag.messages import CAMERA_INFO, CLOUD, TRANSFORMS, message_types
from cosmos_lidar.clips.sweep import Sweep, to_points
from cosmos_lidar.clips.sweep_times import times_of_starts
from cosmos_lidar.clips.writers._clouds import fields_of, fill_table, records_of
from cosmos_lidar.clips.writers._contract import Losses, Progress, WriteOptions, Written
from cosmos_lidar.clips.writers._image_files import image_bytes
from cosmos_lidar.clips.writers._motion import (
    cloud_as_seen,
    moments_of,
    mounting_of,
    note_camera_poses,
    note_difference,
    track_of,
)
from cosmos_lidar.clips.writers._ros_messages import (
    COMPRESSED,
    Edge,
    camera_message,
    cloud_message,
    image_message,
    transforms_message,
)
from cosmos_lidar.clips.writers._staged import Staged
from cosmos_lidar.errors import DataError
from cosmos_lidar.extras import require
from cosmos_lidar.sensors.pinhole import PinholeCamera

DESCRIPTION = "MCAP bags of ROS 2: PointCloud2, CompressedImage, CameraInfo and transforms"
HOLDS = frozenset(("points", "intensity", "labels", "instance", "time_us", "ring", "returns")) | (
    frozenset(("times", "poses", "trajectory", "mounting", "lidars", "lens"))
    | frozenset(("images", "camera_times", "camera_poses", "camera_mounting"))
)
NEEDS = ("rosbags",)
WORLD, VEHICLE = "map", "base_link"
_LATEST_US = (1 << 31) * 1_000_000  # seconds of a stamp are int32
_METADATA_VERSION = 8  # which ROS 2 Humble reads, too
_LONGEST_US, _SHORTEST_US = 8_000_000, 3_200  # times of a sweep that float32 seconds hold, and that readers recognize


@dataclass(frozen=True)
class _Message:
    """A message that is made when its turn comes."""

    time_us: int
    topic: str
    type: str
    make: Callable[[], memoryview]
    counts: int = 0  # for the progress


@dataclass
class _Tree:
    """Frames of sensors and how they hang together."""

    frames: dict[int, str] = field(default_factory=dict)  # by the id of a stream
    static: list[Edge] = field(default_factory=list)
    moving: list[Edge] = field(default_factory=list)

    def name(self, stream: LidarStream | CameraStream) -> str:
        return self.frames[id(stream)]


def frames(clip: Clip) -> int:
    """Return the sweeps of all lidars and the images of all cameras."""
    return sum(len(stream) for stream in _streams(clip))


def _streams(clip: Clip) -> list[LidarStream | CameraStream]:
    return [*clip.lidars.values(), *clip.cameras.values()]


def write_clip(clip: Clip, folder: Path, options: WriteOptions, progress: Progress) -> Written:
    """Write a clip as the bag ``folder/CLIP``.

    Raises:
        DataError: the clip has neither sweeps nor images, times before 1970 or after 2038, or cannot be read; or the
            folder cannot be written.
        UserError: rosbags is not installed.
    """
    losses = Losses(clip, HOLDS)
    _expect_times(clip)
    tree = _tree(clip)
    messages = sorted(_messages(clip, tree, losses), key=lambda one: one.time_us)
    with Staged(folder, clip.clip_id) as staged:
        place = staged.folder(clip.clip_id)
        inner = place / clip.clip_id  # the file has the name of its folder
        _write_bag(inner, messages, progress)
        for file in sorted(inner.iterdir()):
            file.replace(place / file.name)
        inner.rmdir()
        files = staged.files
    _note_changes(clip, losses)
    return Written(len(clip) or max(map(len, clip.cameras.values()), default=0), files, losses.found)


def _expect_times(clip: Clip) -> None:
    times = np.concatenate([np.empty(0, np.int64), *(one.timestamps_us.ravel() for one in _streams(clip))])
    if not len(times):
        raise DataError("neither sweep nor image", file=clip.source, clip=clip.clip_id, wanted="a recording of sensors")
    if not 0 <= times.min() <= times.max() < _LATEST_US:
        problem = f"times from {times.min()} to {times.max()} us"
        raise DataError(problem, file=clip.source, clip=clip.clip_id, wanted="stamps of ROS 2, from 1970 to 2038")


def _tree(clip: Clip) -> _Tree:
    """Return the frames of a clip: the vehicle in the world, and each sensor where it can be placed."""
    tree, taken = _Tree(), {WORLD, VEHICLE}
    for stream in _streams(clip):
        name = re.sub(r"\W+", "_", stream.name, flags=re.ASCII) or "sensor"
        name = f"sensor_{name}" if name[0].isdecimal() or name in taken else name
        while name in taken:
            name += "_"
        taken.add(name)
        tree.frames[id(stream)] = name
    main = clip.lidar if clip.lidars else None
    for lidar in clip.lidars.values():
        _hang_lidar(tree, lidar, main)
    for camera in clip.cameras.values():
        _hang_camera(tree, camera, main)
    return tree


def _hang_lidar(tree: _Tree, lidar: LidarStream, main: LidarStream | None) -> None:
    track, mounting = track_of(lidar), lidar.ego_SE3_lidar
    if mounting is not None and (lidar is main or (main is not None and main.ego_SE3_lidar is not None)):
        tree.static.append((VEHICLE, tree.name(lidar), 0, mounting))
    if track is None or (lidar is not main and mounting is not None and main and main.ego_SE3_lidar is not None):
        return
    times = moments_of(lidar)
    world_SE3_body, body = track.at(times), tree.name(lidar)
    if mounting is not None and lidar is main:
        world_SE3_body, body = world_SE3_body @ np.linalg.inv(mounting), VEHICLE
    tree.moving += [(WORLD, body, time, pose) for time, pose in zip(times.tolist(), world_SE3_body, strict=True)]


def _hang_camera(tree: _Tree, camera: CameraStream, main: LidarStream | None) -> None:
    mounting = mounting_of(camera, main) if main is not None else None
    if mounting is not None and main is not None:
        if main.ego_SE3_lidar is None:
            tree.static.append((tree.name(main), tree.name(camera), 0, mounting))
        else:
            tree.static.append((VEHICLE, tree.name(camera), 0, main.ego_SE3_lidar @ mounting))
    elif camera.world_SE3_camera is not None:
        poses = zip(camera.timestamps_us.tolist(), camera.world_SE3_camera, strict=True)
        tree.moving += [(WORLD, tree.name(camera), time, pose) for time, pose in poses]


def _messages(clip: Clip, tree: _Tree, losses: Losses) -> Iterator[_Message]:
    """Yield the messages of a clip, in no order; making them reads sweeps and images."""
    start = min(int(one.timestamps_us.min()) for one in _streams(clip) if len(one))
    if tree.static:
        fixed = [(parent, child, start, pose) for parent, child, _, pose in tree.static]
        yield _Message(start, "/tf_static", TRANSFORMS, partial(transforms_message, fixed))
    for edge in tree.moving:
        yield _Message(edge[2], "/tf", TRANSFORMS, partial(transforms_message, [edge]))
    for lidar in clip.lidars.values():
        yield from _clouds(lidar, tree.name(lidar), losses)
    for camera in clip.cameras.values():
        yield from _images(camera, tree.name(camera))


def _clouds(lidar: LidarStream, frame: str, losses: Losses) -> Iterator[_Message]:
    for index, time in enumerate(lidar.timestamps_us[:, 0].tolist()):

        def make(index: int = index, time: int = time) -> memoryview:
            return cloud_message(time, frame, _table(lidar, index, losses))

        yield _Message(time, f"/{frame}/points", CLOUD, make, 1)


def _images(camera: CameraStream, frame: str) -> Iterator[_Message]:
    model = camera.model
    for index, time in enumerate(camera.timestamps_us.tolist()):
        if isinstance(model, PinholeCamera):
            info = f"/{frame}/camera_info"
            yield _Message(time, info, CAMERA_INFO, partial(camera_message, time, frame, model))

        def make(index: int = index, time: int = time) -> memoryview:
            return image_message(time, frame, image_bytes(camera, index, "jpeg"))

        yield _Message(time, f"/{frame}/image_raw/compressed", COMPRESSED, make, 1)


def _table(lidar: LidarStream, index: int, losses: Losses) -> np.ndarray:
    """Return the points of a sweep as records."""
    sweep = losses.see(lidar.read(index))
    cloud = to_points(sweep, lidar.sensor)
    if cloud.points is None or not len(cloud.points):
        losses.add("points", "sweeps without a return are clouds of 0 points, which the reader refuses as damaged")
    fields = fields_of(cloud_as_seen(lidar, index, cloud))
    if "time_us" in fields:
        _note_point_times(cloud, losses)
        named = {"time" if name == "time_us" else name: values for name, values in fields.items()}
        fields = named | {"time": (fields["time_us"] * 1e-6).astype("<f4")}
    return fill_table(np.empty(len(fields["x"]), records_of(fields)), fields)


def _note_point_times(cloud: Sweep, losses: Losses) -> None:
    times = cloud.time_us
    if times is None or not len(times):
        return
    if np.abs(times.astype(np.int64)).max() > _LONGEST_US:
        losses.add("time_us", "rounded beyond 8 s")
    elif int(times.max()) - int(times.min()) < _SHORTEST_US:
        losses.add("time_us", "sweeps of less than 3.2 ms: the reader does not recognize their unit")


def _write_bag(folder: Path, messages: list[_Message], progress: Progress) -> None:
    module, interfaces = require("rosbags.rosbag2"), require("rosbags.interfaces")
    writer = module.Writer(folder, version=_METADATA_VERSION, storage_plugin=module.StoragePlugin.MCAP)
    connections: dict[str, Any] = {}
    with writer:
        for message in messages:
            if message.topic not in connections:
                profiles = [_latched(interfaces)] if message.topic == "/tf_static" else []
                connections[message.topic] = writer.add_connection(
                    message.topic, message.type, typestore=message_types("cdr"), offered_qos_profiles=profiles
                )
            writer.write(connections[message.topic], 1000 * message.time_us, message.make())
            if message.counts:
                progress(message.counts)


def _latched(interfaces: Any) -> Any:
    """Return the quality of service of ``/tf_static``: late subscribers get what was sent before."""
    never = interfaces.QosTime(0, 0)
    return interfaces.Qos(
        interfaces.QosHistory.KEEP_LAST, 1, interfaces.QosReliability.RELIABLE,
        interfaces.QosDurability.TRANSIENT_LOCAL, never, never, interfaces.QosLiveliness.SYSTEM_DEFAULT, never, False,
    )  # fmt: skip


def _note_changes(clip: Clip, losses: Losses) -> None:
    losses.add("names", "they become topics, such as /NAME/points")
    curved = [name for name, one in clip.cameras.items() if one.model is not None and not _is_pinhole(one)]
    if curved:
        losses.add("lens", f"{curved[0]} and others: CameraInfo has no f-theta lens")
    if not clip.lidars:
        return
    note_camera_poses(losses, clip.cameras, clip.lidar)
    _note_mounted_lidars(clip, losses)
    losses.add("frame_ids", "replaced by stamps")
    off = max(_ends_off(lidar) for lidar in clip.lidars.values())
    if off > 1:
        losses.add("times", f"starts of sweeps alone: ends are off by up to {off} us by the usual step")
    moved = [name for name, one in clip.lidars.items() if one.motion_compensated]
    if moved and track_of(clip.lidars[moved[0]]) is None:
        losses.add("reference", "compensated points stay where they are, as poses are not known")
    elif moved:
        losses.add("reference", "points are moved back to where the lidar saw them")


def _note_mounted_lidars(clip: Clip, losses: Losses) -> None:
    """Note further lidars whose own poses are not those that the vehicle and their mounting give."""
    main, track = clip.lidar, track_of(clip.lidar)
    for lidar in list(clip.lidars.values())[1:]:
        given, mounting, of_main = lidar.world_SE3_lidar, lidar.ego_SE3_lidar, main.ego_SE3_lidar
        if track is None or given is None or mounting is None or of_main is None:
            continue
        kept = track.at(lidar.timestamps_us) @ np.linalg.inv(of_main) @ mounting
        note_difference(losses, "poses", given, kept, f"{lidar.name}: by vehicle and mounting")


def _is_pinhole(camera: CameraStream) -> bool:
    return isinstance(camera.model, PinholeCamera)


def _ends_off(lidar: LidarStream) -> int:
    """Return how far the ends of sweeps are from those that the reader takes from the starts."""
    read = times_of_starts(lidar.timestamps_us[:, 0], lidar.sensor.spin_hz)
    return int(np.abs(lidar.timestamps_us[:, 1] - read[:, 1]).max(initial=0))
