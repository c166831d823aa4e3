"""Times and poses beside a folder of clouds: ``timestamps.txt|csv``, ``poses.txt|csv|npy``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosmos_lidar.arrays import read_npy
from cosmos_lidar.bounds import read_file
from cosmos_lidar.clips.poses import interpolate_poses, pose_from_quaternion
from cosmos_lidar.clips.stamps import is_number, to_microseconds, unit_since_1970
from cosmos_lidar.clips.tables import read_table
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.rigid import rigid

TIMES = ("timestamps.txt", "timestamps.csv")
POSES = ("poses.txt", "poses.csv", "poses.npy")
_STAMP = re.compile(r"(?:time_?stamps?|times?|t|stamp)(?:_(s|ms|us|ns))?")
_POSITION = (("tx", "ty", "tz"), ("x", "y", "z"), ("px", "py", "pz"))
_QUATERNION = ("qx", "qy", "qz", "qw")
_BEYOND_US = 1_000_000  # poses may end that long before the last sweep
_WANTED = "rows of 12 or 16 numbers (a matrix, lidar to world), or of 8: t x y z qx qy qz qw"


@dataclass(frozen=True)
class Track:
    """Poses of a file: one per sweep, or with their own times.

    Attributes:
        poses: (K, 4, 4) world_SE3_lidar.
        times_us: (K,) increasing; None where there is one pose per sweep.
    """

    poses: np.ndarray
    times_us: np.ndarray | None


def read_stamps(file: Path, count: int, clip: str) -> tuple[np.ndarray, str]:
    """Return (count,) microseconds of a file of stamps, and how their unit was found.

    Raises:
        DataError: another number of rows, no column of stamps, or an implausible one.
    """
    table = read_table(file, clip)
    column, unit = 0, None
    if table.names:
        found = [(place, match) for place, name in enumerate(table.names) if (match := _STAMP.fullmatch(name))]
        if not found:
            names = ", ".join(table.names)
            raise DataError(f"columns {names}", file=file, clip=clip, key="columns", wanted="one named timestamp")
        column, unit = found[0][0], found[0][1][1]
    elif len(table.rows[0]) != 1:
        problem = f"{len(table.rows[0])} columns without names"
        raise DataError(problem, file=file, clip=clip, key="row 1", wanted="one stamp per row, or a line of names")
    if len(table.rows) != count:
        wanted = "one row per sweep"
        raise DataError(f"{len(table.rows)} rows for {count} sweeps", file=file, clip=clip, key="rows", wanted=wanted)
    return _microseconds([row[column] for row in table.rows], unit, file, clip)


def read_more_stamps(file: Path, name: str, clip: str) -> np.ndarray | None:
    """Return (N,) microseconds of the column ``name`` of a file of stamps; None where it has none.

    Raises:
        DataError: no whole numbers in it.
    """
    table = read_table(file, clip)
    if name not in table.names:
        return None
    place = table.names.index(name)
    try:
        return np.array([int(row[place]) for row in table.rows], np.int64)
    except (ValueError, OverflowError) as error:
        raise DataError(f"{error!s:.80}", file=file, clip=clip, key=name, wanted="whole microseconds") from error


def _microseconds(texts: Sequence[str], unit: str | None, file: Path, clip: str) -> tuple[np.ndarray, str]:
    try:
        return to_microseconds(texts, unit)
    except DataError as error:
        raise error.at(file=file, clip=clip) from error


def stamps_of_names(names: Sequence[str]) -> tuple[np.ndarray, str] | None:
    """Return microseconds where all names of files are stamps of the years 2000 to 2100; else None."""
    if not all(map(is_number, names)) or unit_since_1970([float(name) for name in names]) is None:
        return None
    return to_microseconds(names)


def read_track(file: Path, clip: str) -> Track:
    """Return the poses of a file.

    Raises:
        DataError: other numbers per row, no rigid motion, or implausible stamps.
    """
    if file.suffix == ".npy":
        return _of_array(file, clip)
    table = read_table(file, clip)
    if table.names and not set(_QUATERNION) <= set(table.names):
        table = type(table)(file, (), table.rows)
    if table.names:
        return _of_names(file, clip)
    if len(table.rows[0]) == 8:
        return _with_times([row[0] for row in table.rows], table.numbers(clip)[:, 1:], file, clip)
    return Track(_matrices(table.numbers(clip), file, clip), None)


def _of_array(file: Path, clip: str) -> Track:
    try:
        values = read_npy(read_file(file, "an array of poses", clip=clip))
    except DataError as error:
        raise error.at(file=file, clip=clip) from error
    if values.dtype.kind not in "fiu" or values.ndim not in (2, 3) or not np.isfinite(values).all():
        raise DataError(f"an array {values.shape} of {values.dtype}", file=file, clip=clip, wanted=_WANTED)
    values = values.reshape(len(values), -1).astype(np.float64)
    if values.shape[1] == 8:
        return _with_times([repr(float(time)) for time in values[:, 0]], values[:, 1:], file, clip)
    return Track(_matrices(values, file, clip), None)


def _of_names(file: Path, clip: str) -> Track:
    """Return the poses of a table whose columns are named: positions, quaternions, and stamps or none."""
    table = read_table(file, clip)
    position = next((names for names in _POSITION if set(names) <= set(table.names)), None)
    if position is None:
        wanted = "tx, ty, tz, qx, qy, qz, qw"
        raise DataError(f"columns {', '.join(table.names)}", file=file, clip=clip, key="columns", wanted=wanted)
    places = [table.names.index(name) for name in (*position, *_QUATERNION)]
    picked = type(table)(file, (), tuple(tuple(row[place] for place in places) for row in table.rows))
    stamps = [(place, match[1]) for place, name in enumerate(table.names) if (match := _STAMP.fullmatch(name))]
    if not stamps:
        return Track(_of_quaternions(picked.numbers(clip), file, clip), None)
    texts = [row[stamps[0][0]] for row in table.rows]
    return _with_times(texts, picked.numbers(clip), file, clip, stamps[0][1])


def _with_times(texts: list[str], values: np.ndarray, file: Path, clip: str, unit: str | None = None) -> Track:
    """Return poses with stamps: since 1970 in a unit by their magnitude, else in seconds, as TUM defines them."""
    if unit is None and all(map(is_number, texts)) and unit_since_1970([float(text) for text in texts]) is None:
        unit = "s"
    times_us, _ = _microseconds(texts, unit, file, clip)
    back = np.flatnonzero(np.diff(times_us) <= 0)
    if len(back):
        key = f"row {back[0] + 2}"
        raise DataError("its time is not after that before", file=file, clip=clip, key=key, wanted="increasing times")
    return Track(_of_quaternions(values, file, clip), times_us)


def _of_quaternions(values: np.ndarray, file: Path, clip: str) -> np.ndarray:
    lengths = np.linalg.norm(values[:, 3:], axis=1)
    wrong = np.flatnonzero(np.abs(lengths - 1) > 0.05)
    if len(wrong):
        problem, key = f"a quaternion of length {lengths[wrong[0]]:.3g}", f"row {wrong[0] + 1}"
        raise DataError(problem, file=file, clip=clip, key=key, wanted="unit quaternions qx qy qz qw")
    return np.stack([pose_from_quaternion([row[6], *row[3:6]], list(row[:3])) for row in values])


def _matrices(values: np.ndarray, file: Path, clip: str) -> np.ndarray:
    if values.shape[1] not in (12, 16):
        raise DataError(f"{values.shape[1]} numbers per row", file=file, clip=clip, key="row 1", wanted=_WANTED)
    poses = np.tile(np.eye(4), (len(values), 1, 1))
    poses[:, : values.shape[1] // 4] = values.reshape(len(values), -1, 4)
    wrong = np.flatnonzero(~rigid(poses))
    if len(wrong):
        raise DataError("no rigid motion", file=file, clip=clip, key=f"row {wrong[0] + 1}", wanted=_WANTED)
    return poses


def at_sweeps(track: Track, times_us: np.ndarray, file: Path, clip: str) -> np.ndarray:
    """Return (N, 2, 4, 4) poses at start and end of sweeps: between poses, straight lines and constant turn rates.

    Args:
        track: poses; without times of their own they are those of the starts.
        times_us: (N, 2) of the sweeps.
        file: for messages.
        clip: for messages.

    Raises:
        DataError: another number of poses than sweeps, or poses of another time.
    """
    of_poses = track.times_us
    if of_poses is None:
        if len(track.poses) != len(times_us):
            problem = f"{len(track.poses)} poses for {len(times_us)} sweeps"
            raise DataError(problem, file=file, clip=clip, key="rows", wanted="one pose per sweep, or poses with times")
        of_poses = times_us[:, 0]
    elif times_us[0, 0] < of_poses[0] - _BEYOND_US or times_us[-1, 0] > of_poses[-1] + _BEYOND_US:
        problem = f"poses from {of_poses[0]} to {of_poses[-1]} us, sweeps from {times_us[0, 0]} to {times_us[-1, 0]} us"
        raise DataError(problem, file=file, clip=clip, key="times", wanted="poses during the sweeps")
    return interpolate_poses(track.poses, of_poses, times_us)
