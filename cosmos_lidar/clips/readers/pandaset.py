"""PandaSet: Pandar64 and PandarGT, six cameras, semantic classes; its pickled data frames are read without pandas.

Nothing in a pickle is executed, see :mod:`cosmos_lidar.clips.data_frames`.

Points are stored in axes of the world, corrected by the motion of the vehicle, for both lidars in one table: column
``d`` is 0 for the Pandar64 and 1 for the PandarGT. The poses of its ``lidar/poses.json`` do not fit the points (users
have found that out); the place of the Pandar64 therefore comes from the poses of the front camera and the published
calibration of the two, and a sweep is the 100 ms around the image of that camera, which the lidar is synchronized with.
Without that camera ``lidar/poses.json`` is taken, and noted. Points are moved into axes x forward, y left, z up of
their lidar at the start of its sweep, and ``time_us`` is that of the point.

The PandarGT does not spin: range maps of it are those of 64 even rows. Images are taken to be free of distortion, as
the published projection does. Intensity is 0 to 255, classes are the numbers of ``annotations/semseg/classes.json``.
Not read: cuboids, GPS, classes of the sequences that have none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.bounds import expect_plain_file, expect_size, largest_item, read_file
from cosmos_lidar.clips.blocks import blocks
from cosmos_lidar.clips.clip import CameraStream, Clip, LidarStream
from cosmos_lidar.clips.data_frames import load_frame
from cosmos_lidar.clips.files import ImageFiles, clean_id, has_return
from cosmos_lidar.clips.inflate import GZIP, InflatedStream
from cosmos_lidar.clips.poses import interpolate_poses, pose_from_quaternion
from cosmos_lidar.clips.readers._each import OnError, open_each
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import parse_json, visible_files
from cosmos_lidar.sensors.pinhole import PinholeCamera
from cosmos_lidar.sensors.sensor import Sensor, load_sensor, uniform_sensor

DESCRIPTION = "PandaSet: two lidars, six cameras, semantic classes; pickles are read without pandas"
EXAMPLE_LAYOUT = """
<sequence>/lidar/00.pkl.gz, <sequence>/lidar/poses.json, <sequence>/lidar/timestamps.json
<sequence>/camera/front_camera/00.jpg, <sequence>/camera/front_camera/intrinsics.json  (optional)
<sequence>/camera/front_camera/poses.json, <sequence>/camera/front_camera/timestamps.json  (optional)
<sequence>/annotations/semseg/00.pkl.gz  (optional)
"""
# Of annotations/semseg/classes.json; the published mapping has 0 for points without one of them.
CLASS_NAMES = {
    0: "noise", 1: "smoke", 2: "exhaust", 3: "spray or rain", 4: "reflection", 5: "vegetation", 6: "ground",
    7: "road", 8: "lane line marking", 9: "stop line marking", 10: "other road marking", 11: "sidewalk",
    12: "driveway", 13: "car", 14: "pickup truck", 15: "medium-sized truck", 16: "semi-truck", 17: "towed object",
    18: "motorcycle", 19: "construction vehicle", 20: "uncommon vehicle", 21: "pedicab", 22: "emergency vehicle",
    23: "bus", 24: "personal mobility device", 25: "motorized scooter", 26: "bicycle", 27: "train", 28: "trolley",
    29: "tram or subway", 30: "pedestrian", 31: "pedestrian with object", 32: "bird", 33: "other animal", 34: "pylon",
    35: "road barrier", 36: "sign", 37: "cone", 38: "construction sign", 39: "temporary construction barrier",
    40: "rolling container", 41: "building", 42: "other static object",
}  # fmt: skip
LIDARS = ("pandar64", "pandar_gt")  # numbered as in column d
FRONT = "front_camera"
_HALF_US = 50_000  # of a sweep
_SIZE = (1920, 1080)
# Published calibration, of points in axes of the Pandar64 (x left, y backward, z up): quaternion w x y z, meters.
FRONT_SE3_PANDAR64 = pose_from_quaternion(
    [0.016213200031258722, 0.0030578899383849464, 0.7114721800418571, -0.7025205466606356],
    [0.0002585796504896516, -0.03907777167811011, -0.0440125762408362],
)
GT_SE3_PANDAR64 = pose_from_quaternion(
    [0.021475754959146356, -0.002060907279494794, 0.01134678181520767, 0.9997028534282365],
    [-0.000451117754, -0.605646431446, -0.301525235176],
)
# Axes x forward, y left, z up into those of the devices: of the Pandar64 by the calibration, of the others y forward.
_PANDAR64_R_OURS = np.array([[0.0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
_Y_FORWARD_R_OURS = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
PANDAR64_SE3_GT = np.linalg.inv(_PANDAR64_R_OURS) @ np.linalg.inv(GT_SE3_PANDAR64) @ _Y_FORWARD_R_OURS


def recognise(path: Path) -> Strength:
    """Return EXACT where ``path`` is a sequence, or a folder of sequences."""
    return Strength.EXACT if path.is_dir() and next(_sequences(path), None) is not None else Strength.NONE


def open_clips(path: Path, sensor: Sensor | None = None, on_error: OnError | None = None) -> list[Clip]:
    """Return one clip per sequence.

    Args:
        path: a sequence or a folder of sequences.
        sensor: in place of the Pandar64.
        on_error: takes the error of a sequence that cannot be opened.

    Raises:
        DataError: a broken sequence.
    """
    return open_each((partial(_open_sequence, folder, sensor) for folder in _sequences(path)), on_error)


def _sequences(path: Path) -> Iterator[Path]:
    for folder in (path, *(sorted(one for one in path.iterdir() if one.is_dir()) if path.is_dir() else ())):
        if next((folder / "lidar").glob("[0-9][0-9].pkl.gz"), None) is not None:
            yield folder


def _open_sequence(folder: Path, sensor: Sensor | None) -> Clip:
    clip, notes = clean_id(folder.name), []
    files = visible_files(folder / "lidar", "[0-9][0-9].pkl.gz")
    frames = [int(file.name[:2]) for file in files]
    cameras = {one.name: _camera(one, clip) for one in sorted((folder / "camera").glob("*_camera")) if one.is_dir()}
    front = cameras.get(FRONT)
    if front is not None and front.world_SE3_camera is not None:
        times, poses = front.timestamps_us, front.world_SE3_camera @ FRONT_SE3_PANDAR64 @ _PANDAR64_R_OURS
    else:
        notes.append("no front camera: places of the lidar are those of lidar/poses.json, which fit the points badly")
        times, poses = _track(folder / "lidar", clip)
        poses = poses @ _Y_FORWARD_R_OURS
    if frames[-1] >= len(times):
        wanted = f"a pose for each of the {len(times)} frames"
        raise DataError("a frame without a pose", file=files[-1], clip=clip, key=str(frames[-1]), wanted=wanted)
    spans = times[frames][:, None] + np.array([-_HALF_US, _HALF_US])
    world_SE3_main = interpolate_poses(poses, times, spans)
    classes = tuple(folder / "annotations" / "semseg" / file.name for file in files)
    given = (sensor or load_sensor("pandar64"), uniform_sensor(64, 1800, 10.0, -10.0, name=LIDARS[1], max_range_m=120))
    lidars = {}
    for number, name in enumerate(LIDARS):
        world = world_SE3_main if number == 0 else world_SE3_main @ PANDAR64_SE3_GT
        read = PandaSweeps(clip, tuple(files), classes, number, spans[:, 0], world[:, 0])
        names = tuple(f"{frame:02d}" for frame in frames)
        lidars[name] = LidarStream(name, given[number], names, spans, read, world, motion_compensated=True)
    return Clip(clip, folder, "pandaset", lidars, cameras, tuple(notes))


@dataclass(frozen=True)
class PandaSweeps:
    """``read`` of a lidar of a sequence.

    Attributes:
        clip_id: for messages.
        files: one table of points per sweep.
        classes: one table of classes per sweep, whether it is there or not.
        number: of the lidar, as in column d.
        starts_us: (N,) starts of the sweeps.
        world_SE3_lidar: (N, 4, 4) at the starts.
    """

    clip_id: str
    files: tuple[Path, ...]
    classes: tuple[Path, ...]
    number: int
    starts_us: np.ndarray
    world_SE3_lidar: np.ndarray

    def __call__(self, index: int) -> Sweep:
        """Read sweep ``index``.

        Raises:
            DataError: a broken table, missing columns, no point of this lidar, classes of other points.
        """
        file = self.files[index]
        table = read_frame(file, ("x", "y", "z", "i", "t", "d"), self.clip_id)
        own = table.pop("d") == self.number
        count, starts_us = int(np.count_nonzero(own)), float(self.starts_us[index])
        points, filled = np.empty((count, 3), np.float32), 0
        intensity, time_us = np.empty(count, np.float32), np.empty(count, np.int32)
        lidar_SE3_world = np.linalg.inv(self.world_SE3_lidar[index])
        for part in blocks(len(own)):  # the doubles of a table are four times as large as the sweep
            world = np.stack([table[axis][part] for axis in "xyz"], 1).astype(np.float64)
            kept = own[part]
            kept &= has_return(world)
            place = slice(filled, filled + int(np.count_nonzero(kept)))
            points[place] = world[kept] @ lidar_SE3_world[:3, :3].T + lidar_SE3_world[:3, 3]
            after = table["t"][part][kept].astype(np.float64) * 1e6 - starts_us
            if not (abs(after) < 1e7).all():
                wanted = "seconds, on the clock of the images"
                raise DataError("times of another sweep", file=file, clip=self.clip_id, key="t", wanted=wanted)
            time_us[place] = np.rint(after)
            intensity[place] = table["i"][part][kept]
            filled = place.stop
        del table
        if not filled:
            wanted = f"points with d = {self.number}"
            raise DataError("no point of this lidar", file=file, clip=self.clip_id, key="d", wanted=wanted)
        return Sweep(
            points=points[:filled],
            intensity=intensity[:filled],
            labels=self._labels(index, own),
            time_us=time_us[:filled],
            without_return=count - filled,
        )

    def _labels(self, index: int, kept: np.ndarray) -> np.ndarray | None:
        file = self.classes[index]
        if not file.is_file():
            return None
        found = read_frame(file, ("class",), self.clip_id)["class"]
        if len(found) != len(kept):
            problem, wanted = f"{len(found)} classes for {len(kept)} points", "one per point"
            raise DataError(problem, file=file, clip=self.clip_id, key="class", wanted=wanted)
        if found.min() < 0 or found.max() >= 1 << 16:
            problem = f"classes from {found.min()} to {found.max()}"
            raise DataError(problem, file=file, clip=self.clip_id, key="class", wanted="0 to 65535")
        return found[kept].astype(np.uint16)


def read_frame(file: Path, columns: tuple[str, ...], clip: str | None = None) -> dict[str, np.ndarray]:
    """Return columns (N,) of numbers of a ``.pkl.gz`` data frame; at most the limit is unpacked.

    Raises:
        DataError: damaged, no data frame of numbers, missing columns, or something that would be executed.
    """
    wanted = "a data frame of numbers, pickled and gzipped as PandaSet has it"
    try:
        expect_plain_file(file, clip)
        expect_size(file.stat().st_size, "a data frame", file=file, clip=clip)
        with file.open("rb") as packed:
            stream = InflatedStream(packed, largest_item(), GZIP)
            table = load_frame(stream)
            stream.finish()
    except DataError as error:
        raise error.at(file=file, clip=clip) from error
    except Exception as error:  # a damaged pickle raises anything
        problem = f"not a readable data frame: {error!s:.200}"
        raise DataError(problem, file=file, clip=clip, wanted=wanted) from error
    missing = [name for name in columns if name not in table or table[name].dtype.kind not in "iuf"]
    if missing:
        raise DataError("no such column of numbers", file=file, clip=clip, key=missing[0], wanted=wanted)
    if not len(table[columns[0]]):
        raise DataError("no row in it", file=file, clip=clip, wanted=wanted)
    return {name: table[name] for name in columns}


def _camera(folder: Path, clip: str) -> CameraStream:
    images = [path for path in visible_files(folder, "[0-9][0-9].jpg")]
    times, poses = _track(folder, clip)
    numbers = [int(path.stem) for path in images]
    if not images or numbers[-1] >= len(times):
        found = f"{len(images)} images, {len(times)} times"
        raise DataError(found, file=folder, clip=clip, key="timestamps.json", wanted="a time for each image")
    file = folder / "intrinsics.json"
    lens = _json(file, clip)
    try:
        values = [float(lens[key]) for key in ("fx", "fy", "cx", "cy")]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        problem = f"no intrinsics: {error!r:.80}"
        raise DataError(problem, file=file, clip=clip, wanted="fx fy cx cy") from error
    if not np.isfinite(values).all():
        raise DataError("not finite", file=file, clip=clip, key="fx fy cx cy", wanted="pixels")
    fx, fy, cx, cy = values
    model = PinholeCamera(fx, fy, cx, cy, *_SIZE)
    return CameraStream(folder.name, times[numbers], ImageFiles(tuple(images), clip), model, poses[numbers])


def _track(folder: Path, clip: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (N,) microseconds and (N, 4, 4) world_SE3_sensor of a sensor's folder."""
    stamps, poses = (_json(folder / f"{name}.json", clip) for name in ("timestamps", "poses"))
    file = folder / "poses.json"
    try:
        found = [
            pose_from_quaternion([one["heading"][key] for key in "wxyz"], [one["position"][key] for key in "xyz"])
            for one in poses
        ]
        times = np.rint(np.array(stamps, np.float64) * 1e6)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        wanted = "position x y z and heading w x y z of each frame, timestamps in seconds"
        raise DataError(f"no poses: {error!r:.80}", file=file, clip=clip, wanted=wanted) from error
    if not found or times.shape != (len(found),) or not np.isfinite(found).all():
        problem = f"{len(found)} poses, {times.size} times, or some not finite"
        raise DataError(problem, file=file, clip=clip, wanted="one of each per frame")
    if not (np.diff(times) > 0).all() or not (abs(times) < 2**53).all():
        raise DataError("times that do not increase", file=folder / "timestamps.json", clip=clip, wanted="seconds")
    return times.astype(np.int64), np.stack(found)


def _json(file: Path, clip: str) -> Any:
    try:
        return parse_json(read_file(file, "a JSON file", 1 << 26, clip))
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=file, clip=clip, wanted="a JSON file") from error
    except ValueError as error:
        raise DataError(f"not JSON: {error!s:.80}", file=file, clip=clip, wanted="a JSON file") from error
