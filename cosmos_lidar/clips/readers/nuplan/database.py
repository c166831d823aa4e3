"""Databases of nuPlan's logs: one SQLite file ``LOG.db`` each, with the tables of the published schema.

Tokens are blobs of 8 bytes, times are microseconds, vectors and matrices are pickled lists of numbers, which
:mod:`cosmos_lidar.pickles` reads without running them.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.bounds import expect_size
from cosmos_lidar.clips.poses import poses_from_quaternions
from cosmos_lidar.clips.readers.nuplan.layout import CLOUDS
from cosmos_lidar.clips.readers.nuplan.records import CameraRecords, LogRecords, five, mounting, numbers, track_of
from cosmos_lidar.clips.sqlite_file import expect_tables, open_database
from cosmos_lidar.errors import DataError
from cosmos_lidar.pickles import ARRAYS, ArrayUnpickler

WANTED = "a database of a nuPlan log, with tables lidar, lidar_pc, ego_pose, camera and image"
_TABLES = ("lidar", "lidar_pc", "ego_pose", "camera", "image")
_ROW_SIZE = 512  # bytes in memory of a row of numbers
_LONGEST_NAME, _LONGEST_PICKLE = 512, 1 << 14
_POSE = ("x", "y", "z", "qw", "qx", "qy", "qz")


class _Numbers(list):
    """Stands for the lists of numbers that the published tools have classes for."""


_LISTS = ("Translation", "Rotation", "CameraIntrinsic")


class _Unpickler(ArrayUnpickler):
    names = {**ARRAYS, **{("nuplan.database.common.data_types", name): _Numbers for name in _LISTS}}


def read_database(file: Path, clip: str) -> LogRecords:
    """Return the records of a log.

    Raises:
        DataError: no such database, values of other kinds, no poses.
    """
    with open_database(file, WANTED, clip) as database:
        expect_tables(database, _TABLES)
        for table in _TABLES:
            (rows,) = database.execute(f"SELECT count(*) FROM {table}").fetchone()
            expect_size(rows * _ROW_SIZE, f"{rows} rows", file=file, clip=clip, key=table)
        clouds = [(stamp, name) for stamp, name, _ in _files(database, "lidar_pc", "filename", "lidar_token")]
        ego_SE3_cloud = _mounting_of_clouds(database, file, clip)
        times, poses = _poses(database, file, clip)
        cameras = _cameras(database, file, clip)
    track, notes = track_of(times, poses, file, clip)
    return LogRecords(clouds, ego_SE3_cloud, track, cameras, notes)


def _files(database: sqlite3.Connection, table: str, name: str, token: str) -> list[tuple[int, str, bytes]]:
    """Return time, name and token of another record of each row of a table of files."""
    query = f"SELECT timestamp, substr({name}, 1, {_LONGEST_NAME}), substr({token}, 1, 16) FROM {table}"
    rows = database.execute(f"{query} ORDER BY timestamp").fetchall()
    for stamp, path, other in rows:
        if type(stamp) is not int or not isinstance(path, str) or not isinstance(other, bytes):
            raise ValueError(f"a row {stamp!r:.30}, {path!r:.60} of {table}: expected a time, a name and a token")
    return [(stamp, path.rpartition("/")[2], other) for stamp, path, other in rows]


def _mounting_of_clouds(database: sqlite3.Connection, file: Path, clip: str) -> np.ndarray:
    rows = database.execute(f"SELECT substr(channel, 1, 64), {_pickled('rotation', 'translation')} FROM lidar")
    found = {channel: values for channel, *values in rows.fetchmany(64)}
    rotation, translation = found.get(CLOUDS, next(iter(found.values()), (None, None)))
    if rotation is None or translation is None:
        return np.eye(4)
    return mounting(_unpickled(rotation), _unpickled(translation), file, clip, "lidar")


def _poses(database: sqlite3.Connection, file: Path, clip: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (K,) microseconds and (K, 4, 4) world_SE3_ego."""
    rows = database.execute(f"SELECT timestamp, {', '.join(_POSE)} FROM ego_pose ORDER BY timestamp").fetchall()
    if not all(type(row[0]) is int and all(type(value) in (float, int) for value in row[1:]) for row in rows):
        raise DataError("a pose that is no number", file=file, clip=clip, key="ego_pose", wanted=WANTED)
    times = np.array([row[0] for row in rows], np.int64)
    values = np.array([row[1:] for row in rows], np.float64).reshape(-1, len(_POSE))
    lengths = np.linalg.norm(values[:, 3:], axis=1)
    good = np.isfinite(values).all(1) & (np.abs(lengths - 1.0) < 0.01)
    if not good.all():
        key, wanted = f"ego_pose at {times[np.argmin(good)]}", "meters and a unit quaternion"
        raise DataError("no pose", file=file, clip=clip, key=key, wanted=wanted)
    return times, poses_from_quaternions(values[:, 3:], values[:, :3])


def _cameras(database: sqlite3.Connection, file: Path, clip: str) -> dict[str, CameraRecords]:
    images = defaultdict(list)
    for stamp, name, token in _files(database, "image", "filename_jpg", "camera_token"):
        images[token].append((stamp, name))
    columns = _pickled("rotation", "translation", "intrinsic", "distortion")
    rows = database.execute(f"SELECT token, substr(channel, 1, 64), width, height, {columns} FROM camera").fetchmany(64)
    return {str(channel): _camera(str(channel), [width, height], values, images.get(token, []), file, clip)
            for token, channel, width, height, *values in rows}  # fmt: skip


def _camera(
    channel: str, size: list[Any], values: list[Any], images: list[tuple[int, str]], file: Path, clip: str
) -> CameraRecords:
    rotation, translation, intrinsic, distortion = map(_unpickled, values)
    key = f"camera {channel}"
    if not all(type(length) is int and 0 < length < 1 << 16 for length in size):
        raise DataError(f"size {size}", file=file, clip=clip, key=key, wanted="pixels")
    lens = numbers(intrinsic, (3, 3), file, clip, f"{key}, intrinsic"), five(distortion, file, clip, key)
    pose = mounting(rotation, translation, file, clip, key)
    return CameraRecords(pose, lens, (size[0], size[1]), images)


def _pickled(*columns: str) -> str:
    return ", ".join(f"CASE WHEN length({name}) <= {_LONGEST_PICKLE} THEN {name} END" for name in columns)


def _unpickled(content: Any) -> Any:
    if not isinstance(content, bytes):
        return None
    try:
        return _Unpickler(content).load()
    except Exception as error:  # a damaged pickle raises anything
        raise ValueError(f"no pickled numbers: {error!s:.120}") from error
