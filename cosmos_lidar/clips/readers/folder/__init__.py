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

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.files import PointSweeps, clean_id, natural_key
from cosmos_lidar.clips.point_formats import origin_of, point_formats
from cosmos_lidar.clips.readers._each import OnError, open_each
from cosmos_lidar.clips.readers.folder.beside import SENSOR_FILE, read_beside
from cosmos_lidar.clips.readers.folder.sweeps import CloudFiles
from cosmos_lidar.clips.readers.folder.track import POSES
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
_BINARY, _DEFAULT_SENSOR = ".bin", "uniform64"


def recognise(path: Path) -> Strength:
    """Return EXACT where ``sensor.yaml`` lies beside clouds, GENERIC for other clouds that are no bare ``.bin``."""
    folders = [path.parent] if path.is_file() else _folders(path)[:8]
    if not folders or (path.is_file() and not _is_cloud(path)):
        return Strength.NONE
    if any((folder / SENSOR_FILE).is_file() for folder in folders):
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
    return next((place for place in (folder / SENSOR_FILE, folder.parent / SENSOR_FILE) if place.is_file()), None)


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
    there = read_beside(folder, clouds, sensor, name, alone)
    if kind == _BINARY:
        read: PointSweeps | CloudFiles = PointSweeps(name, clouds)
    else:
        origin = origin_of(clouds[0], name)
        read = CloudFiles(name, clouds, there.timestamps_us, origin)
        if origin is not None:
            notes.append(f"coordinates of a map, less {', '.join(f'{value:.0f}' for value in origin)}")
    return Clip(name, clouds[0] if alone else folder, "folder", {there.name: there.lidar(sensor, clouds, read)},
                notes=(*notes, *there.notes))  # fmt: skip
