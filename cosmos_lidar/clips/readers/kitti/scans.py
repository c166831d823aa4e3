"""Folders of scans (``.bin`` files): which layout they are in, their numbers and times."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import Clip, one_lidar_clip
from cosmos_lidar.clips.files import PointSweeps, clean_id
from cosmos_lidar.clips.readers.kitti.files import NO_TIME
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import visible, visible_files
from cosmos_lidar.log import logger
from cosmos_lidar.sensors.sensor import Sensor

LIDAR = "velodyne"
MOST_CAMERAS = 16  # KITTI has four; other recordings in its layout have more
_MOST_FRAMES = 10_000_000  # eleven days at 10 Hz
_PLACES = (
    ("",), ("training", "testing"), ("object/training", "object/testing"), ("sequences/*",), ("dataset/sequences/*",),
    ("*_drive_*",), ("*/*_drive_*",), ("*",),
)  # fmt: skip
_OF_SEQUENCES = ("calib.txt", "times.txt", "poses.txt", "image_0", "image_2")
_OF_DRIVES = ("oxts", "velodyne_points/timestamps_start.txt", "../calib_velo_to_cam.txt", "../calib_imu_to_velo.txt")
_RAW_DRIVE = re.compile(r"2011_\d\d_\d\d_drive_\d{4}_(sync|extract)")  # all of KITTI was recorded in 2011


def find_folders(path: Path) -> list[tuple[Path, str]]:
    """Return the folders of scans at the first of the usual places that has any, and the layout of each.

    Layouts are ``raw``, ``sequence``, ``object`` and ``bare``.
    """
    if path.is_file():
        return [(path, "bare")] if _is_scan(path) else []
    if path.name == "velodyne" and _kind(path):
        path = path.parent
    if path.name == "data" and path.parent.name == "velodyne_points":
        path = path.parent.parent
    for patterns in _PLACES:
        folders = [folder for pattern in patterns for folder in (visible(path, pattern) if pattern else [path])]
        found = [(folder, kind) for folder in folders if (kind := _kind(folder))]
        if found:
            return found
    return []


def _kind(folder: Path) -> str | None:
    if (folder / "velodyne_points" / "data").is_dir():
        return "raw"
    if (folder / "velodyne").is_dir():
        return "object" if (folder / "calib").is_dir() else "sequence"
    return "bare" if folder.is_dir() and any(_is_scan(file) for file in visible_files(folder, "*.bin")) else None


def strength_of(folder: Path, kind: str) -> Strength:
    """Return how surely a folder of :func:`find_folders` is KITTI's: EXACT with names that only KITTI has."""
    if kind == "bare":
        return Strength.GENERIC
    if kind == "object":
        return Strength.EXACT
    if kind == "sequence":
        named = folder.resolve().parent.name == "sequences"
        return Strength.EXACT if named or _any_there(folder, _OF_SEQUENCES) else Strength.GENERIC
    named = _RAW_DRIVE.fullmatch(folder.resolve().name) is not None
    return Strength.EXACT if named or _any_there(folder, _OF_DRIVES) else Strength.GENERIC


def has_labels(folder: Path) -> bool:
    """Return whether a sequence has labels per point, as SemanticKITTI has them."""
    return (folder / "labels").is_dir()


def has_tags(folder: Path) -> bool:
    """Return whether a sequence tells which pixel each point is of, as SemanticPOSS does."""
    return (folder / "tag").is_dir()


def _any_there(folder: Path, names: tuple[str, ...]) -> bool:
    return any((folder / name).exists() for name in names)


def _is_scan(file: Path) -> bool:
    return file.suffix == ".bin" and not file.name.endswith(".pcd.bin")


def scan_files(folder: Path, clip: str) -> list[Path]:
    """Return the scans of a folder by their numbers, else by their names.

    Raises:
        DataError: there are none.
    """
    files = numbered_files(folder, "*.bin")
    if not files:
        raise DataError("no scan in it", file=folder, clip=clip, wanted="files 000000.bin, 000001.bin, …")
    return files


def numbered_files(folder: Path, pattern: str) -> list[Path]:
    """Return the files of a folder by their frame numbers; by their names where no name is a number.

    Where some are, the others (``map.bin`` among scans) are no frames: they are left out and named in the log.
    """
    files = [file for file in visible_files(folder, pattern) if not file.name.endswith(".pcd.bin")]
    numbered = [file for file in files if _number(file) is not None]
    if not numbered or len(numbered) == len(files):
        return sorted(files, key=lambda file: (_number(file) or 0, file.name))
    strange = next(file for file in files if _number(file) is None)
    logger.warning("%s: %d files are no frames, such as %s", folder, len(files) - len(numbered), strange.name)
    return sorted(numbered, key=lambda file: (_number(file) or 0, file.name))


def image_files(folder: Path) -> list[Path]:
    """Return the images of a folder by their frame numbers: ``.png`` as published, else ``.jpg``."""
    return numbered_files(folder, "*.png") or numbered_files(folder, "*.jpg")


def _number(file: Path) -> int | None:
    return int(file.stem) if file.stem.isdecimal() else None


def frame_numbers(files: list[Path]) -> np.ndarray:
    """Return the frame numbers in the names; 0, 1, 2, … where the names are no numbers, or as large as stamps are."""
    numbers = [_number(file) for file in files]
    if any(number is None or number > _MOST_FRAMES for number in numbers):
        return np.arange(len(files))
    return np.array(numbers, np.int64)


def around(middle_us: np.ndarray, sensor: Sensor) -> np.ndarray:
    """Return (N, 2) start and end of sweeps from their middles: half a revolution, as long as most of them took."""
    spin = 1e6 / sensor.spin_hz
    steps = np.diff(middle_us)
    steps = steps[np.abs(steps - spin) < 0.2 * spin]  # the others are gaps
    half = float(np.median(steps) if len(steps) else spin) / 2.0
    return np.round(np.stack([middle_us - half, middle_us + half], -1)).astype(np.int64)


def fill_times(times_us: np.ndarray, numbers: np.ndarray, sensor: Sensor) -> np.ndarray:
    """Return times (N,) in which those that are not known lie between their neighbors by frame number.

    They keep the order of the sweeps; nothing is read at them.

    Args:
        times_us: (N,), :data:`~cosmos_lidar.clips.readers.kitti.files.NO_TIME` where not known.
        numbers: (N,) increasing frame numbers.
        sensor: its rate continues before the first and after the last known time.
    """
    known = times_us != NO_TIME
    spin = 1e6 / sensor.spin_hz
    if not known.any():
        return np.round((numbers + 0.5) * spin).astype(np.int64)
    at, of = times_us[known].astype(np.float64), numbers[known]
    filled = np.interp(numbers, of, at)
    filled += np.minimum(numbers - of[0], 0) * spin + np.maximum(numbers - of[-1], 0) * spin
    return np.where(known, times_us, np.round(filled).astype(np.int64))


def without_time(times_us: np.ndarray, table: str) -> tuple[tuple[int, str], ...]:
    """Return (sweep, why) of sweeps without a time, as ``PointSweeps.unusable`` has them."""
    why = f"no time: the line of this frame in {table} is empty"
    return tuple((int(index), why) for index in np.flatnonzero(times_us == NO_TIME))


def open_bare(path: Path, sensor: Sensor) -> Clip:
    """Open a folder of scans, or one scan, without anything beside them."""
    folder = path.parent if path.is_file() else path
    name = clean_id(
        path.stem if path.is_file() else folder.parent.name if folder.name == "velodyne" else folder.resolve().name
    )
    files = [path] if path.is_file() else scan_files(folder, name)
    middle = (frame_numbers(files) + 0.5) * (1e6 / sensor.spin_hz)
    notes = ("no times: frame numbers at the usual rate", "no poses", "no calibration")
    frames = tuple(file.stem for file in files)
    return one_lidar_clip(name, sensor, frames, around(middle, sensor), PointSweeps(name, tuple(files)), path, "kitti",
                          motion_compensated=True, notes=notes, name=LIDAR)  # fmt: skip
