"""Folders of point clouds without a dataset around them: one clip per folder, one sweep per file, in natural order.

Files are ``.npy .npz .pcd .ply .las .laz .drc`` (:mod:`cosmos_lidar.clips.point_fields` has the fields that are read),
and ``.bin`` of float32 x y z intensity with ``sensor.yaml`` beside them: other readers open bare ones. Of several kinds
of files, the most frequent one is the recording.

Beside the clouds may lie ``timestamps.txt`` or ``.csv`` (a stamp per sweep; names that are stamps do as well),
``poses.txt``, ``.csv`` or ``.npy`` (a row per sweep of 12 or 16 numbers as KITTI has them, or ``t x y z qx qy qz qw``
at their own times as TUM has them) and ``sensor.yaml``, which may lie in the folder above, too.

A stamp is the start of its sweep. A sweep is as long as the sensor's revolution, or as the median step where that is
shorter, unless ``timestamps.csv`` has its end in a column ``end_us``. ``lidar.json`` may name the lidar (``name``), its
mounting (``ego_SE3_lidar``) and whether points are compensated for motion (``motion_compensated``): to the start of
the sweep, or to the time in the column ``reference_us``. Not read: colors, normals, the viewpoint of PCD files.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import Clip, one_lidar_clip
from cosmos_lidar.clips.files import PointSweeps, clean_id, natural_key
from cosmos_lidar.clips.point_formats import origin_of, point_formats
from cosmos_lidar.clips.readers._each import OnError, open_each
from cosmos_lidar.clips.readers.folder.facts import FACTS, LidarFacts, read_facts
from cosmos_lidar.clips.readers.folder.sweeps import CloudFiles
from cosmos_lidar.clips.readers.folder.track import (
    POSES,
    TIMES,
    Track,
    at_sweeps,
    read_more_stamps,
    read_stamps,
    read_track,
    stamps_of_names,
)
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import visible, visible_files
from cosmos_lidar.sensors.sensor import Sensor, load_sensor

DESCRIPTION = "folders of .npy .npz .pcd .ply .las .laz .drc clouds, one per sweep, with optional poses and stamps"
EXAMPLE_LAYOUT = """
FOLDER/000000.pcd                                             (generic) nothing but clouds
FOLDER/timestamps.txt, FOLDER/poses.txt                       (optional)

FOLDER/000000.bin, FOLDER/sensor.yaml                         or any of the other kinds
FOLDER/timestamps.csv, FOLDER/poses.csv, FOLDER/lidar.json    (optional)
"""
ASSUMED = "meters, x forward, y left, z up in axes of the lidar, not motion-compensated; stamps are starts of sweeps"
_SENSOR, _BINARY, _DEFAULT_SENSOR = "sensor.yaml", ".bin", "uniform64"


def recognise(path: Path) -> Strength:
    """Return EXACT where ``sensor.yaml`` lies beside clouds, GENERIC for other clouds that are no bare ``.bin``."""
    folders = [path.parent] if path.is_file() else _folders(path)[:8]
    if not folders or (path.is_file() and not _is_cloud(path)):
        return Strength.NONE
    if any((folder / _SENSOR).is_file() for folder in folders):
        return Strength.EXACT
    if path.is_file():
        return Strength.NONE if path.suffix == _BINARY else Strength.GENERIC
    bare = any(file.suffix == _BINARY for folder in folders for file in _clouds(folder))
    return Strength.NONE if bare else Strength.GENERIC


def open_clips(path: Path, sensor: Sensor | None = None, on_error: OnError | None = None) -> list[Clip]:
    """Return one clip per folder of clouds.

    Raises:
        DataError: no cloud, stamps or poses that cannot be read or do not fit, a broken sensor file.
    """
    if path.is_file():
        return open_each([partial(_open, path.parent, [path], sensor)], on_error)
    folders = _folders(path)
    if not folders:
        kinds = ", ".join([_BINARY, *point_formats()])
        raise DataError("no cloud in it", file=path, wanted=f"files of one of {kinds}")
    return open_each((partial(_open, folder, None, sensor) for folder in folders), on_error)


def _is_cloud(file: Path) -> bool:
    known = file.suffix.lower() in point_formats() or file.suffix == _BINARY
    return known and file.name not in POSES and not file.name.endswith(".pcd.bin")


def _clouds(folder: Path) -> list[Path]:
    return [file for file in visible_files(folder, "*") if _is_cloud(file)]


def _folders(path: Path) -> list[Path]:
    """Return the folder itself where it has clouds, else the folders in it that have."""
    if not path.is_dir():
        return []
    return [path] if _clouds(path) else [one for one in visible(path, "*") if one.is_dir() and _clouds(one)]


def _sensor_file(folder: Path) -> Path | None:
    return next((place for place in (folder / _SENSOR, folder.parent / _SENSOR) if place.is_file()), None)


def _open(folder: Path, files: list[Path] | None, sensor: Sensor | None) -> Clip:
    alone = files is not None
    name = clean_id(files[0].stem if files else folder.resolve().name)
    found = sorted(files or _clouds(folder), key=lambda file: natural_key(file.name))
    kind, count = Counter(file.suffix.lower() for file in found).most_common(1)[0]
    notes = [f"{len(found) - count} files are not {kind} and left out"] if count < len(found) else []
    clouds = tuple(file for file in found if file.suffix.lower() == kind)
    beside = _sensor_file(folder)
    if sensor is None:
        sensor = load_sensor(beside or _DEFAULT_SENSOR)
        notes += [] if beside else [f"beams are not known: those of {_DEFAULT_SENSOR}"]
    places = [[place for one in names if (place := folder / one).is_file()] for names in (TIMES, POSES)]
    times_file, poses_file = (None if alone or not place else place[0] for place in places)
    track = read_track(poses_file, name) if poses_file else None
    starts, how = _starts(clouds, times_file, track, sensor, name)
    times = _sweep_times(starts, sensor, times_file or folder, name)
    facts = LidarFacts() if alone else read_facts(folder / FACTS, name)
    reference = None
    if times_file is not None:
        times = _with_ends(times, times_file, name)
        reference = read_more_stamps(times_file, "reference_us", name)
    poses = at_sweeps(track, times, poses_file, name) if track and poses_file else None
    notes += [how] if poses is not None else [how, "no poses"]
    if kind == _BINARY:
        read: PointSweeps | CloudFiles = PointSweeps(name, clouds)
    else:
        origin = origin_of(clouds[0], name)
        read = CloudFiles(name, clouds, times, origin)
        if origin is not None:
            notes.append(f"coordinates of a map, less {', '.join(f'{value:.0f}' for value in origin)}")
    frames = tuple(file.stem for file in clouds)
    source = clouds[0] if alone else folder
    clip = one_lidar_clip(
        name, sensor, frames, times, read, source, "folder", poses, facts.motion_compensated, notes=tuple(notes),
        name=facts.name, ego_SE3_lidar=facts.ego_SE3_lidar,
    )  # fmt: skip
    return clip if reference is None or not facts.motion_compensated else clip.with_lidar(reference_us=reference)


def _with_ends(times: np.ndarray, file: Path, clip: str) -> np.ndarray:
    """Return the times of sweeps with the ends that a file of stamps has, if it has any."""
    ends = read_more_stamps(file, "end_us", clip)
    if ends is None:
        return times
    back = np.flatnonzero(ends <= times[:, 0])
    if len(back):
        key = f"row {back[0] + 1}"
        raise DataError("a sweep that ends before it starts", file=file, clip=clip, key=key, wanted="end_us after it")
    return np.stack([times[:, 0], ends], axis=1)


def _starts(
    clouds: tuple[Path, ...], times_file: Path | None, track: Track | None, sensor: Sensor, clip: str
) -> tuple[np.ndarray, str]:
    """Return (N,) microseconds of the starts of sweeps, and a note of where they come from."""
    if times_file is not None:
        starts, unit = read_stamps(times_file, len(clouds), clip)
        return starts, f"times of {times_file.name}: {unit}"
    names = [file.stem for file in clouds]
    of_names = stamps_of_names(names)
    if of_names is not None:
        return of_names[0], f"times of the names of files: {of_names[1]}"
    if track is not None and track.times_us is not None and len(track.times_us) == len(clouds):
        return track.times_us, "times of the poses"
    spin_us = 1e6 / sensor.spin_hz
    numbers = [int(name) for name in names if name.isdecimal() and len(name) < 10]
    if len(numbers) == len(names) and len(set(numbers)) == len(numbers):
        return np.round(np.array(numbers) * spin_us).astype(np.int64), "no times: frame numbers at the sensor's rate"
    return np.round(np.arange(len(names)) * spin_us).astype(np.int64), "no times: the sensor's rate"


def _sweep_times(starts: np.ndarray, sensor: Sensor, file: Path, clip: str) -> np.ndarray:
    """Return (N, 2) start and end of sweeps."""
    steps = np.diff(starts)
    back = np.flatnonzero(steps <= 0)
    if len(back):
        problem = f"time goes from {starts[back[0]]} to {starts[back[0] + 1]} us"
        raise DataError(problem, file=file, clip=clip, key=f"row {back[0] + 2}", wanted="increasing times")
    length = min([1e6 / sensor.spin_hz, *([float(np.median(steps))] if len(steps) else [])])
    return np.stack([starts, starts + max(1, round(length))], axis=1)
