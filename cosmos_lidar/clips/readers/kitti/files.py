"""The text files of the KITTI layouts: calibration, times, poses, navigation records."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from cosmos_lidar.bounds import read_file
from cosmos_lidar.clips.poses import rotation_from_vector
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.pinhole import PinholeCamera
from cosmos_lidar.sensors.rigid import rigid

NO_TIME = np.iinfo(np.int64).min  # of a frame whose line in a table of times is empty
EARTH_RADIUS_M = 6378137.0
_LARGEST_TEXT = 1 << 28
_LENS_STEP = 1e-4  # of rows with five digits


def text_of(file: Path, clip: str | None = None) -> str:
    """Return the text of a file, bytes that are no UTF-8 replaced.

    Raises:
        DataError: it cannot be read, or is larger than 256 MB.
    """
    try:
        return read_file(file, "a text file", _LARGEST_TEXT, clip).decode("utf-8-sig", "replace")
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=file, clip=clip, wanted="a text file") from error


def read_calibration(file: Path, clip: str | None = None) -> dict[str, np.ndarray]:
    """Return the rows ``name: numbers`` of a calibration file; rows of anything but numbers (dates) are left out.

    Raises:
        DataError: the file is absent or has no such row.
    """
    if not file.is_file():
        raise DataError("missing calibration file", file=file, clip=clip, wanted="rows 'name: numbers'")
    rows = {}
    for line in text_of(file, clip).splitlines():
        name, _, values = line.partition(":")
        try:
            rows[name.strip()] = np.array([float(value) for value in values.split()])
        except ValueError:
            continue
    rows = {name: values for name, values in rows.items() if len(values)}
    if not rows:
        raise DataError("no calibration row", file=file, clip=clip, wanted="rows 'name: numbers'")
    return rows


def calibration_row(
    rows: dict[str, np.ndarray], names: tuple[str, ...], count: int, file: Path, clip: str | None
) -> np.ndarray:
    """Return the row of one of ``names`` (spellings differ between layouts), which has to hold ``count`` numbers."""
    name = next((name for name in names if name in rows), None)
    if name is None:
        raise DataError("row missing", file=file, clip=clip, key=names[0], wanted=f"one of {', '.join(names)}")
    if len(rows[name]) != count or not np.isfinite(rows[name]).all():
        raise DataError(f"{len(rows[name])} numbers", file=file, clip=clip, key=name, wanted=f"{count} finite numbers")
    return rows[name]


def calibration_pose(
    rows: dict[str, np.ndarray], names: tuple[str, ...], file: Path, clip: str | None, translation: str | None = None
) -> np.ndarray:
    """Return the (4, 4) pose of a row of 12 numbers (3 x 4), or of 9 (a rotation) with a row of its translation.

    Args:
        rows: of :func:`read_calibration`.
        names: spellings of the row; of 12 numbers where they start with ``Tr``, else of 9.
        file: for messages.
        clip: for messages.
        translation: name of the row of 3 numbers, meters; None for none.

    Raises:
        DataError: a row is missing, has other numbers, or is no rigid motion.
    """
    count = 12 if names[0].startswith("Tr") else 9
    values = calibration_row(rows, names, count, file, clip)
    pose = np.eye(4)
    if count == 12:
        pose[:3] = values.reshape(3, 4)
    else:
        pose[:3, :3] = values.reshape(3, 3)
    if translation is not None:
        pose[:3, 3] = calibration_row(rows, (translation,), 3, file, clip)
    if not rigid(pose):
        wanted = "a rotation of 3 x 3 numbers" + (", and meters" if count == 12 else "")
        raise DataError("no rigid motion", file=file, clip=clip, key=names[0], wanted=wanted)
    return pose


def split_projection(
    rows: dict[str, np.ndarray], name: str, size: tuple[int, int], file: Path, clip: str | None
) -> tuple[PinholeCamera, np.ndarray]:
    """Return lens and mounting (camera_SE3_rectified) of a row that is a 3 x 4 projection matrix ``K [R | t]``.

    In the published files R is the identity, as all rectified cameras look along the same axis.

    Args:
        rows: of :func:`read_calibration`.
        name: of the row.
        size: width and height of the images, pixels.
        file: for messages.
        clip: for messages.

    Raises:
        DataError: the row is missing or no such matrix.
    """
    matrix = calibration_row(rows, (name,), 12, file, clip).reshape(3, 4)
    try:
        lens, mounting = matrix[:, :3], np.eye(4)
        if np.tril(lens, -1).any():
            lens, mounting[:3, :3] = _lens_and_rotation(lens)
        mounting[:3, 3] = np.linalg.solve(lens, matrix[:, 3])
        return PinholeCamera(lens[0, 0], lens[1, 1], lens[0, 2], lens[1, 2], *size), mounting
    except (np.linalg.LinAlgError, DataError) as error:
        wanted = "a projection matrix of 3 x 4 numbers"
        raise DataError(f"no lens: {error}", file=file, clip=clip, key=name, wanted=wanted) from error


def _lens_and_rotation(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return K (upper triangular, positive diagonal) and rotation R of ``matrix = K R`` (3, 3)."""
    from scipy.linalg import rq

    lens, rotation = rq(matrix)
    signs = np.sign(np.diag(lens))
    lens, rotation = lens * signs, signs[:, None] * rotation
    if not signs.all() or np.linalg.det(rotation) < 0 or abs(lens[2, 2] - 1) > _LENS_STEP:
        raise DataError("its left 3 x 3 numbers are no K R", wanted="K with 1 in its last row, R a rotation")
    if abs(lens[0, 1]) > _LENS_STEP * lens[0, 0]:
        raise DataError(f"skewed pixels ({lens[0, 1]:.3g})", wanted="K without skew")
    return lens, rotation


def raw_camera(
    rows: dict[str, np.ndarray], number: str, size: tuple[int, int], file: Path, clip: str | None
) -> tuple[PinholeCamera, np.ndarray] | None:
    """Return lens and mounting (camera_SE3_camera00) of a camera whose images are not rectified.

    Of the rows ``K_xx``, ``D_xx`` (k1 k2 p1 p2 k3), ``R_xx`` and ``T_xx``; None where the file has none of them.

    Args:
        rows: of :func:`read_calibration`.
        number: ``xx``.
        size: width and height of the images, pixels.
        file: for messages.
        clip: for messages.

    Raises:
        DataError: some of the rows are missing, or hold no camera.
    """
    if not any(f"{key}_{number}" in rows for key in "KDRT"):
        return None
    lens = calibration_row(rows, (f"K_{number}",), 9, file, clip).reshape(3, 3)
    bent = calibration_row(rows, (f"D_{number}",), 5, file, clip)
    mounting = calibration_pose(rows, (f"R_{number}",), file, clip, f"T_{number}")
    try:
        distortion = tuple(bent.tolist()) if bent.any() else ()
        return PinholeCamera(lens[0, 0], lens[1, 1], lens[0, 2], lens[1, 2], *size, distortion), mounting
    except DataError as error:
        wanted = "focal lengths and principal point of a camera"
        raise DataError(f"no lens: {error}", file=file, clip=clip, key=f"K_{number}", wanted=wanted) from error


def read_times_s(file: Path, clip: str) -> np.ndarray:
    """Return (N,) microseconds of a file of seconds, one per line (``times.txt``); :data:`NO_TIME` of empty lines."""
    seconds = _numbers(file, clip, 1)[:, 0]
    known = np.isfinite(seconds)
    return np.where(known, np.round(np.where(known, seconds, 0.0) * 1e6), NO_TIME).astype(np.int64)


def read_poses(file: Path, clip: str) -> np.ndarray:
    """Return (N, 4, 4) poses of a file of 3 x 4 matrices, one per line; NaN of empty lines.

    Raises:
        DataError: a line that is no rigid motion.
    """
    values = _numbers(file, clip, 12)
    poses = np.tile(np.eye(4), (len(values), 1, 1))
    poses[:, :3] = values.reshape(-1, 3, 4)
    wrong = ~rigid(poses, 1e-2) & np.isfinite(values).all(1)
    if wrong.any():
        key = f"line {int(np.argmax(wrong)) + 1}"
        raise DataError("no rigid motion", file=file, clip=clip, key=key, wanted="3 x 4 numbers: rotation and meters")
    return poses


def _numbers(file: Path, clip: str, columns: int) -> np.ndarray:
    lines = _lines(file, clip)
    values = np.full((len(lines), columns), np.nan)
    for number, line in enumerate(lines):
        if not line:
            continue
        try:
            values[number] = _row(line, columns)
        except ValueError as error:
            raise DataError(f"not readable: {error}", file=file, clip=clip, key=f"line {number + 1}",
                            wanted=f"{columns} numbers per line") from error  # fmt: skip
    return values


def _row(line: str, columns: int) -> list[float]:
    values = [float(value) for value in line.split()]
    if len(values) != columns:
        raise ValueError(f"{len(values)} numbers")
    if not np.isfinite(values).all():
        raise ValueError("not finite")
    return values


def _lines(file: Path, clip: str) -> list[str]:
    """Return the lines, line n that of frame n: recordings keep the lines of frames that were lost, empty."""
    lines = [line.strip() for line in text_of(file, clip).splitlines()]
    if not any(lines):
        raise DataError("the file is empty", file=file, clip=clip, wanted="one line per frame")
    return lines


def read_clock_times(file: Path, clip: str) -> np.ndarray:
    """Return (N,) microseconds since 1970 of ``2011-09-26 13:02:25.594360375`` lines (raw layout).

    Of empty lines :data:`NO_TIME`.
    """
    lines = _lines(file, clip)
    try:
        known = np.array([line.replace(" ", "T") for line in lines if line], "datetime64[ns]").astype(np.int64) // 1000
    except ValueError as error:
        raise DataError(f"not readable: {error}", file=file, clip=clip, wanted="one date and time per line") from error
    times = np.full(len(lines), NO_TIME, np.int64)
    times[[bool(line) for line in lines]] = known
    return times


def clock_times_of(file: Path, numbers: np.ndarray, name: str) -> np.ndarray:
    """Return the times in the lines of these numbers: frames can be missing, their lines are not.

    Raises:
        DataError: a line that is no time, or fewer lines than the highest number needs.
    """
    times = read_clock_times(file, name)
    if numbers.max() >= len(times):
        problem = f"{len(times)} times for frame numbers up to {numbers.max()}"
        raise DataError(problem, file=file, clip=name, wanted="one line per frame number")
    return times[numbers]


def read_navigation(files: list[Path], clip: str) -> np.ndarray:
    """Return (N, 4, 4) poses of the navigation unit in a local metric frame: east, north, up, first at the origin.

    Each file is one record that starts with latitude, longitude (degrees), altitude (m), roll, pitch, yaw.
    The map is Mercator's, scaled at the first latitude, as the dataset's own tools have it.
    """
    records = np.stack([_record(file, clip) for file in files])
    latitude, longitude = np.radians(records[:, 0]), np.radians(records[:, 1])
    scale = EARTH_RADIUS_M * math.cos(latitude[0])
    poses = np.tile(np.eye(4), (len(files), 1, 1))
    poses[:, 0, 3] = scale * (longitude - longitude[0])
    north = np.log(np.tan(np.pi / 4.0 + latitude / 2.0))
    poses[:, 1, 3] = scale * (north - north[0])
    poses[:, 2, 3] = records[:, 2] - records[0, 2]
    roll, pitch, yaw = (rotation_from_vector(records[:, 3 + k, None] * np.eye(3)[k]) for k in range(3))
    poses[:, :3, :3] = yaw @ pitch @ roll
    return poses


def _record(file: Path, clip: str) -> np.ndarray:
    try:
        values = np.array([float(v) for v in text_of(file, clip).split()[:6]])
    except ValueError as error:
        raise DataError(
            f"not readable: {error}", file=file, clip=clip, wanted="latitude longitude altitude roll pitch yaw"
        ) from error
    if len(values) != 6 or not np.isfinite(values).all():
        raise DataError(
            f"{len(values)} numbers", file=file, clip=clip, wanted="latitude longitude altitude roll pitch yaw, finite"
        )
    return values
