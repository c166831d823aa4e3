"""nuPlan and NAVSIM: merged clouds of five lidars at 20 Hz (NAVSIM: 2 Hz) and eight cameras, one clip per log.

Clouds are ``.pcd`` files in axes of the vehicle (origin on the rear axle) with the number of the lidar
(``lidar_info``) and of its beam (``ring``) of each point. The dataset has neither mountings nor models of the lidars.
A mounting is fitted to the rings of one cloud per vehicle, which opening therefore reads
(:mod:`cosmos_lidar.sensors.fit.mounting`); where rings do not determine it, points stay in axes of the vehicle, and
range maps are those from the rear axle, with a note. Lidar 1 is that of the left side, as users have found in
the clouds; the published tools name it the right one.

Taken for granted, and noted: the time of a cloud is the start of a sweep of 50 ms, and points are as measured, not
compensated for motion. Of records, the database of a log (``LOG.db``) is taken, or else the frames of NAVSIM
(``LOG.pkl``); nothing in a pickle is executed. Without both, the order of the clouds is not known. Positions count from
the first pose, in whole meters: those of the map (UTM) are too large for float32.

Not read: boxes, tracks, traffic lights, scenes, maps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip, LidarStream
from cosmos_lidar.clips.files import ImageFiles, clean_id, image_size
from cosmos_lidar.clips.readers._each import OnError, open_each
from cosmos_lidar.clips.readers.nuplan.database import read_database
from cosmos_lidar.clips.readers.nuplan.layout import CLOUDS, LogFiles, find_logs, has_logs
from cosmos_lidar.clips.readers.nuplan.navsim import read_frames
from cosmos_lidar.clips.readers.nuplan.records import CameraRecords, LogRecords
from cosmos_lidar.clips.readers.nuplan.sweeps import LIDARS, MergedSweeps, RigLidar, read_rig
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.clips.trajectory import Trajectory
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import visible_files
from cosmos_lidar.log import logger
from cosmos_lidar.sensors.sensor import Sensor, load_sensor, uniform_sensor

DESCRIPTION = "nuPlan and NAVSIM: merged clouds of five lidars, eight cameras"
EXAMPLE_LAYOUT = """
sensor_blobs/<log>/MergedPointCloud/<token>.pcd                                  also below a log
splits/mini/<log>.db, sensor_blobs/<log>/CAM_F0/<token>.jpg, …                   (optional)

sensor_blobs/mini/<log>/MergedPointCloud/<token>.pcd                             as NAVSIM has it
navsim_logs/mini/<log>.pkl, sensor_blobs/mini/<log>/CAM_F0/<token>.jpg, …        (optional)
"""
_SWEEP_US, _BEYOND_US = 50_000, 500_000
_MOST_BROKEN = 3  # unreadable clouds of a vehicle, after which the search for its lidars fails
_ASSUMED = "taken for granted: the time of a cloud is the start of a sweep of 50 ms, points are as measured"
_NO_RECORDS = "no records of the log: the order and the times of its clouds are not known (here by name, 20 a second)"

Rigs = dict[str | None, list[RigLidar]]


def recognise(path: Path) -> Strength:
    """Return EXACT where there are logs with ``MergedPointCloud``, or databases with the names of logs."""
    return Strength.EXACT if has_logs(path) else Strength.NONE


def open_clips(path: Path, sensor: Sensor | None = None, on_error: OnError | None = None) -> list[Clip]:
    """Return one clip per log that has sensor data.

    Args:
        path: the dataset, a folder in it, the folder of a log, or its database.
        sensor: in place of that of the top lidar.
        on_error: takes the error of a log that cannot be opened.

    Raises:
        DataError: records that are broken, or a log without sensor data.
    """
    logs = find_logs(path)
    if not logs:
        wanted = "sensor_blobs/LOG/MergedPointCloud beside the folder of databases"
        raise DataError("records of logs without their sensor data", file=path, wanted=wanted)
    rigs: Rigs = {}
    return open_each((partial(_open_log, log, sensor, rigs) for log in logs), on_error)


def _open_log(log: LogFiles, sensor: Sensor | None, rigs: Rigs) -> Clip:
    clip = clean_id(log.folder.name)
    notes: list[str] = []
    records = _read(log, clip)
    clouds = _on_disk(log.folder / CLOUDS, "*.pcd", None if records is None else records.clouds, notes)
    if records is None:
        notes.append(_NO_RECORDS)
    else:
        notes += [_ASSUMED, *records.notes] if clouds else records.notes
    lidars = {}
    if clouds:
        axes = np.eye(4) if records is None else records.ego_SE3_cloud
        track = None if records is None else records.track
        rig = _rig(log, clouds, axes, rigs, clip)
        lidars = {one.name: _lidar(one, clouds, axes, track, sensor if place == 0 else None, clip, notes)
                  for place, one in enumerate(rig)}  # fmt: skip
    main = next((one.ego_SE3_lidar for one in lidars.values()), None)
    cameras = {} if records is None else {one.name: one for one in _cameras(log.folder, records, main, clip, notes)}
    if not lidars and not cameras:
        raise DataError("no file of the log is on disk", file=log.folder, clip=clip, wanted="clouds or images")
    return Clip(clip, log.folder, "nuplan", lidars, cameras, tuple(notes))


def _read(log: LogFiles, clip: str) -> LogRecords | None:
    if log.records is None:
        return None
    return (read_frames if log.records.suffix == ".pkl" else read_database)(log.records, clip)


def _on_disk(
    folder: Path, pattern: str, listed: list[tuple[int, str]] | None, notes: list[str]
) -> list[tuple[int, Path]]:
    """Return (microseconds, file) of the listed files that are there; of all, a sweep apart, where none are listed."""
    there = {file.name: file for file in visible_files(folder, pattern)} if folder.is_dir() else {}
    if listed is None:
        return [(place * _SWEEP_US, file) for place, file in enumerate(there.values())]
    found = {stamp: there[name] for stamp, name in listed if name in there}
    if there and len(found) < len(there):
        notes.append(f"{len(there) - len(found)} files of {folder.name} are left out: the records do not list them")
    return sorted(found.items())


def _rig(log: LogFiles, clouds: list[tuple[int, Path]], axes: np.ndarray, rigs: Rigs, clip: str) -> list[RigLidar]:
    """Return the lidars of the vehicle, which its first cloud that can be read shows."""
    if log.vehicle is not None and log.vehicle in rigs:
        return rigs[log.vehicle]
    for place, (_, file) in enumerate(clouds[:_MOST_BROKEN]):
        try:
            rigs[log.vehicle] = read_rig(file, axes, clip)
            break
        except DataError as error:
            if place + 1 == len(clouds[:_MOST_BROKEN]):
                raise
            logger.warning("%s", error)
    return rigs[log.vehicle]


def _lidar(
    rig: RigLidar,
    clouds: list[tuple[int, Path]],
    ego_SE3_cloud: np.ndarray,
    track: Trajectory | None,
    sensor: Sensor | None,
    clip: str,
    notes: list[str],
) -> LidarStream:
    sensor = sensor or _sensor(rig, notes)
    mount = rig.ego_SE3_lidar
    if mount is None:
        notes.append(
            f"{rig.name}: its place does not follow from the rings: points and range maps are those from the rear axle"
        )
        mount = np.eye(4)
    stamps = np.array([stamp for stamp, _ in clouds], np.int64)
    times = np.stack([stamps, stamps + _SWEEP_US], axis=1)
    files = tuple(file for _, file in clouds)
    move = np.linalg.inv(mount) @ ego_SE3_cloud
    mounted = None if track is None else track.moved(mount)
    world = None if track is None else _at(track, times, files[0], clip) @ mount
    read = MergedSweeps(clip, files, rig.number, move, times)
    names = tuple(file.stem for file in files)
    return LidarStream(rig.name, sensor, names, times, read, world, ego_SE3_lidar=mount, trajectory=mounted)


def _sensor(rig: RigLidar, notes: list[str]) -> Sensor:
    if rig.name == LIDARS[0]:
        notes.append("top: beams are taken for those of a Pandar40P at 20 Hz; `sensor fit` estimates them")
        return load_sensor("nuplan_top")
    rows = rig.rings or 40
    low, high = (math.degrees(value) for value in rig.elevations_rad)
    notes.append(f"{rig.name}: beams are not known: {rows} even rows")
    ends = min(90.0, math.ceil(high)), max(-90.0, math.floor(low))
    return uniform_sensor(rows, 900, *ends, name=f"nuplan_{rig.name}", max_range_m=220.0)


def _at(track: Trajectory, times_us: np.ndarray, file: Path, clip: str) -> np.ndarray:
    low, high = track.times_us[0] - _BEYOND_US, track.times_us[-1] + _BEYOND_US
    outside = (times_us < low) | (times_us > high)
    if outside.any():
        problem = f"no pose near {int(times_us[outside][0])} us"
        raise DataError(problem, file=file, clip=clip, key="ego_pose", wanted=f"poses from {low} to {high} us")
    return track.at(times_us)


def _cameras(
    folder: Path, records: LogRecords, main: np.ndarray | None, clip: str, notes: list[str]
) -> Iterator[CameraStream]:
    """Yield the cameras that have images on disk."""
    for channel, camera in records.cameras.items():
        images = _on_disk(folder / channel, "*.jpg", camera.images, notes)
        if images:
            yield _camera(channel, camera, images, records.track, main, clip, notes)


def _camera(
    channel: str,
    camera: CameraRecords,
    images: list[tuple[int, Path]],
    track: Trajectory,
    main: np.ndarray | None,
    clip: str,
    notes: list[str],
) -> CameraStream:
    files = tuple(file for _, file in images)
    size = image_size(files[0])
    if camera.size not in (None, size):
        notes.append(f"{channel}: images of {size[0]} x {size[1]}, calibrated at {camera.size}")
    stamps = np.array([stamp for stamp, _ in images], np.int64)
    world = _at(track, stamps, files[0], clip) @ camera.ego_SE3_camera
    mounting = None if main is None else np.linalg.inv(main) @ camera.ego_SE3_camera
    return CameraStream(
        channel, stamps, ImageFiles(files, clip), camera.model(size), world, mounting, camera.ego_SE3_camera
    )
