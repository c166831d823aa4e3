"""A log of Argoverse 2 as a clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip, LidarStream
from cosmos_lidar.clips.feather import read_feather
from cosmos_lidar.clips.files import ImageFiles, clean_id, image_size
from cosmos_lidar.clips.poses import interpolate_poses, pose_from_quaternion
from cosmos_lidar.clips.readers.av2.boxes import AnnotatedBoxes
from cosmos_lidar.clips.readers.av2.sweeps import LIDARS, HalfSweeps, Unit
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import visible, visible_files
from cosmos_lidar.sensors.pinhole import PinholeCamera
from cosmos_lidar.sensors.sensor import Sensor, load_sensor

_POSE = ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")
_LENS = ("fx_px", "fy_px", "cx_px", "cy_px", "width_px", "height_px")
_UPRIGHT = np.diag([1.0, -1.0, -1.0, 1.0])
_DIGITS = 19  # of nanoseconds since 1970; more is no time
_BEYOND_US = 500_000  # poses are carried on that long before the first and after the last one


def open_log(folder: Path, sensor: Sensor | None) -> Clip:
    """Return the clip of a log.

    Args:
        folder: of the log.
        sensor: in place of that of ``up_lidar``; None for the one of the reader.

    Raises:
        DataError: no sweep, calibration or poses that are missing or broken.
    """
    name = clean_id(folder.resolve().name)
    stamped = stamped_files(folder / "sensors" / "lidar", "*.feather", name)
    mounts = _mounts(folder / "calibration" / "egovehicle_SE3_sensor.feather", name)
    track = _Track.read(folder / "city_SE3_egovehicle.feather", name)
    notes = ["laser_number 0 to 31 is taken for up_lidar, 32 to 63 for down_lidar"]
    if track is None:
        notes.append("no city_SE3_egovehicle.feather: no poses, points are those of the moment in the file names")
    lidars = {unit.name: _lidar(unit, stamped, mounts, track, folder, name) for unit in LIDARS}
    if sensor is not None:
        lidars[LIDARS[0].name] = replace(lidars[LIDARS[0].name], sensor=sensor)
    main = np.asarray(next(iter(lidars.values())).ego_SE3_lidar)
    cameras = {camera.name: camera for camera in _cameras(folder, mounts, track, main, name, notes)}
    file = folder / "annotations.feather"
    boxes = AnnotatedBoxes(file, name, track.at) if track is not None and file.is_file() else None
    return Clip(name, folder, "av2", lidars, cameras, tuple(notes), boxes=boxes)


def stamped_files(folder: Path, pattern: str, clip: str) -> list[tuple[int, Path]]:
    """Return nanoseconds and path of the files of a folder, in the order of time.

    Raises:
        DataError: there is none, or a name is no number.
    """
    found = []
    for file in visible_files(folder, pattern):
        if not file.stem.isdecimal() or len(file.stem) > _DIGITS:
            raise DataError("no stamp in the file name", file=file, clip=clip, wanted="<nanoseconds>" + file.suffix)
        found.append((int(file.stem), file))
    if not found:
        raise DataError("no file in it", file=folder, clip=clip, wanted=f"files <nanoseconds>{pattern[1:]}")
    return sorted(found)


class _Track:
    """Poses of the vehicle over time."""

    def __init__(self, city_SE3_ego: np.ndarray, times_us: np.ndarray, file: Path, clip: str) -> None:
        self.city_SE3_ego, self.times_us, self.file, self.clip = city_SE3_ego, times_us, file, clip

    @classmethod
    def read(cls, file: Path, clip: str) -> _Track | None:
        """Return the poses of a log; None where it has none."""
        if not file.is_file():
            return None
        columns = read_feather(file, {"timestamp_ns": "integer", **dict.fromkeys(_POSE, "number")}, clip)
        # Poses lie a nanosecond apart where two sensors had one moment.
        times, first = np.unique(columns["timestamp_ns"].astype(np.int64) // 1000, return_index=True)
        if not len(times):
            raise DataError("no pose in it", file=file, clip=clip, wanted="city_SE3_egovehicle over time")
        return cls(_poses(columns, first, file, clip), times, file, clip)

    def at(self, wanted_us: np.ndarray) -> np.ndarray:
        """Return (..., 4, 4) the poses at these times.

        Raises:
            DataError: a time is far from all poses.
        """
        low, high = self.times_us[0] - _BEYOND_US, self.times_us[-1] + _BEYOND_US
        outside = (wanted_us < low) | (wanted_us > high)
        if outside.any():
            problem = f"no pose near {int(np.asarray(wanted_us)[outside][0])} us"
            wanted = f"poses of the whole log; these go from {self.times_us[0]} to {self.times_us[-1]} us"
            raise DataError(problem, file=self.file, clip=self.clip, key="timestamp_ns", wanted=wanted)
        return interpolate_poses(self.city_SE3_ego, self.times_us, wanted_us)


def _poses(columns: dict[str, np.ndarray], rows: np.ndarray, file: Path, clip: str) -> np.ndarray:
    values = np.stack([columns[name][rows].astype(np.float64) for name in _POSE], -1)
    good = np.isfinite(values).all(1) & (np.abs(np.linalg.norm(values[:, :4], axis=1) - 1.0) < 0.01)
    if not good.all():
        row = int(rows[np.argmin(good)])
        raise DataError("no pose", file=file, clip=clip, key=f"row {row}", wanted="a unit quaternion and meters")
    return np.stack([pose_from_quaternion(list(one[:4]), list(one[4:])) for one in values])


def _mounts(file: Path, clip: str) -> dict[str, np.ndarray]:
    """Return sensor -> ego_SE3_sensor."""
    columns = read_feather(file, {"sensor_name": "text", **dict.fromkeys(_POSE, "number")}, clip)
    poses = _poses(columns, np.arange(len(columns["sensor_name"])), file, clip)
    mounts = dict(zip(columns["sensor_name"].tolist(), poses, strict=True))
    for unit in LIDARS:
        if unit.name not in mounts:
            found = ", ".join(mounts) or "none"
            raise DataError("no calibration of it", file=file, clip=clip, key=unit.name, wanted=f"among {found}")
    return mounts


def _lidar(
    unit: Unit,
    stamped: list[tuple[int, Path]],
    mounts: dict[str, np.ndarray],
    track: _Track | None,
    folder: Path,
    clip: str,
) -> LidarStream:
    sensor = load_sensor(unit.sensor)
    mount = mounts[unit.name] if mounts[unit.name][2, 2] >= 0 else mounts[unit.name] @ _UPRIGHT
    named_us = np.array([stamp // 1000 for stamp, _ in stamped], np.int64)
    start = named_us + unit.starts_us
    times = np.stack([start, start + round(1e6 / sensor.spin_hz)], -1)
    lidar_SE3_ego = np.broadcast_to(np.linalg.inv(mount), (len(stamped), 4, 4))
    ends = None
    if track is not None:
        ends = track.at(times) @ mount
        lidar_SE3_ego = np.linalg.inv(ends[:, 0]) @ track.at(named_us)
    files = tuple(file for _, file in stamped)
    read = HalfSweeps(clip, files, unit, np.ascontiguousarray(lidar_SE3_ego))
    return LidarStream(
        unit.name, sensor, tuple(file.stem for file in files), times, read, ends,
        motion_compensated=True, ego_SE3_lidar=mount,
    )  # fmt: skip


def _cameras(
    folder: Path, mounts: dict[str, np.ndarray], track: _Track | None, main: np.ndarray, clip: str, notes: list[str]
) -> Iterator[CameraStream]:
    """Yield the cameras that have images, and note what is missing."""
    there = [place for place in visible(folder, "sensors/cameras/*") if next(place.glob("*.jpg"), None)]
    if not there:
        notes.append("no images below sensors/cameras")
        return
    file = folder / "calibration" / "intrinsics.feather"
    columns = read_feather(file, {"sensor_name": "text", **dict.fromkeys(_LENS, "number")}, clip)
    rows = {name: row for row, name in enumerate(columns["sensor_name"].tolist())}
    for place in there:
        name = place.name
        if name not in rows or name not in mounts:
            raise DataError("no calibration of it", file=file, clip=clip, key=name, wanted=", ".join(rows))
        stamped = stamped_files(place, "*.jpg", clip)
        images = ImageFiles(tuple(path for _, path in stamped), clip)
        times = np.array([stamp // 1000 for stamp, _ in stamped], np.int64)
        fx, fy, cx, cy, width, height = (float(columns[key][rows[name]]) for key in _LENS)
        model = PinholeCamera(fx, fy, cx, cy, int(width), int(height))
        size = image_size(images.files[0])
        if size != (model.width, model.height):
            notes.append(f"{name}: images of {size[0]} x {size[1]}, calibrated at {model.width} x {model.height}")
            model = model.resized(*size)
        poses = None if track is None else track.at(times) @ mounts[name]
        yield CameraStream(name, times, images, model, poses, np.linalg.inv(main) @ mounts[name], mounts[name])
