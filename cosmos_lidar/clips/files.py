"""Files of points, of labels and of images, checked while they are read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from cosmos_lidar.bounds import expect_plain_file, expect_size
from cosmos_lidar.clips.blocks import block_size, blocks, move_points, select
from cosmos_lidar.clips.columns import FloatFile, likely_columns
from cosmos_lidar.clips.images import image_size, read_image
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.errors import DataError

_IMAGES = {
    b"\x89PNG\r\n\x1a\n": "PNG image",
    b"\xff\xd8\xff": "JPEG image",
    b"GIF8": "GIF image",
    b"BM": "BMP image",
}
FARTHEST_M = 1e5


def files_of(read: object) -> tuple[Path, ...]:
    """Return the files of a stream with one file per sweep or image, by its ``read``; () for all others.

    Their ``read`` has them as ``files``, or wraps another one as ``points`` that does.
    """
    files = getattr(read, "files", None)
    if isinstance(files, tuple) and all(isinstance(file, Path) for file in files):
        return files
    return files_of(read.points) if hasattr(read, "points") else ()


def file_of(read: object, index: int) -> Path | None:
    """Return the file that sweep or image ``index`` lies in, by the stream's ``read``; None where that is not known.

    Beside :func:`files_of`: a video or archive, which ``read`` has as ``path``, or as ``path`` of its ``tar``.
    """
    files = files_of(read)
    if files:
        return files[index] if index < len(files) else None
    path = getattr(read, "path", getattr(getattr(read, "tar", None), "path", None))
    return path if isinstance(path, Path) else None


def clean_id(text: str) -> str:
    """Return ``text`` fit for a clip id: dots, slashes and white space become ``_``."""
    return re.sub(r"[./\\\s]+", "_", text).strip("_") or "clip"


def natural_key(name: str) -> list[tuple[int, str]]:
    """Return a sort key in which 10 comes after 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def refuse_image(path: Path, clip: str | None = None) -> None:
    """Raise a DataError where a file that should hold points starts like an image."""
    with path.open("rb") as file:
        head = file.read(16)
    kind = next((name for magic, name in _IMAGES.items() if head.startswith(magic)), None)
    # Two letters are little evidence: a BMP also states its own size in the next four bytes.
    if kind == "BMP image" and int.from_bytes(head[2:6], "little") != path.stat().st_size:
        kind = None
    if kind:
        raise DataError(
            f"this is a {kind}, not points", file=path, clip=clip, wanted="a file of lidar points or a dataset folder"
        )


class FloatPoints(NamedTuple):
    """What a headerless file of points holds.

    Attributes:
        points: (M, 3) float32 meters.
        values: column -> (M,) float32, those that were asked for.
        kept: (N,) bool, which rows of the file the points are.
    """

    points: np.ndarray
    values: dict[int, np.ndarray]
    kept: np.ndarray


def read_float_points(
    path: Path, columns: int, more: Iterable[int] = (), clip: str | None = None, *, stated: bool = False
) -> FloatPoints:
    """Return the points of a headerless little-endian float32 file.

    Rows whose x, y or z is NaN or infinite, or all three 0, are pulses without return (organized clouds) and left out.
    Files are read in blocks: no more than the result is in memory.

    Args:
        path: the file.
        columns: numbers per point; columns 0 to 2 are x, y, z in meters.
        more: further columns that are wanted.
        clip: for messages.
        stated: the user states ``columns``: files that look like other numbers per point are read.

    Raises:
        DataError: an image, no byte in it, a size that is no whole number of points, other columns, finite coordinates
            beyond 100 km (the file holds something else).
    """
    try:
        expect_plain_file(path, clip)
        refuse_image(path, clip)
        count = _count_rows(path, columns, clip, stated)
        with path.open("rb", buffering=0) as file:
            return _read_rows(file, path, columns, count, tuple(more), clip)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=path, clip=clip) from error


def _count_rows(path: Path, columns: int, clip: str | None, stated: bool) -> int:
    """Return the rows of a file that has the size and the look of one of so many numbers per point."""
    size = path.stat().st_size
    expect_size(size, "a file of points", file=path, clip=clip)
    if size and size % 4 == 0 and not stated:
        found = likely_columns(FloatFile(path), columns)
        if found != columns and size // 4 % found == 0:
            raise DataError(
                f"looks like {found} float32 per point, not {columns}", file=path, clip=clip,
                wanted=f"--columns {found} where that is right, --columns {columns} where it is not",
            )  # fmt: skip
    problem = size_problem(size, columns)
    if problem:
        wanted = f"a multiple of {4 * columns} ({columns} float32 per point): a complete copy of the file"
        raise DataError(problem, file=path, clip=clip, wanted=wanted)
    return size // (4 * columns)


def _read_rows(
    file: FileIO, path: Path, columns: int, count: int, more: tuple[int, ...], clip: str | None
) -> FloatPoints:
    points, kept, filled = np.empty((count, 3), np.float32), np.ones(count, bool), 0
    values = {column: np.empty(count, np.float32) for column in more}
    buffer = np.empty((min(count, block_size(count)), columns), "<f4")
    for part in blocks(count):
        rows = buffer[: part.stop - part.start]
        if file.readinto(rows.data.cast("B")) != rows.nbytes:
            raise DataError("it has become shorter", file=path, clip=clip, wanted="a complete copy of the file")
        if not (_plain(rows) or _near(rows).all()):
            refuse_far(rows, path, clip, part.start)
            good = kept[part] = has_return(rows)
            rows = rows[good]
        place = slice(filled, filled + len(rows))
        for axis in range(3):  # column by column: five times as fast as by rows
            points[place, axis] = rows[:, axis]
        for column, found in values.items():
            found[place] = rows[:, column]
        filled = place.stop
    return FloatPoints(points[:filled], {column: found[:filled] for column, found in values.items()}, kept)


def _plain(rows: np.ndarray) -> bool:
    """Return whether all numbers are below 1e5 and no x is 0, as in most files: takes a third of the time of a look."""
    return bool(rows.max() < FARTHEST_M and rows.min() > -FARTHEST_M and rows[:, 0].all())  # not so with NaN


def _near(rows: np.ndarray) -> np.ndarray:
    """Return (N,) bool: which rows have coordinates that nothing is wrong with, |x| + |y| + |z| in (0, 100 km)."""
    total = np.abs(rows[:, 0])
    with np.errstate(invalid="ignore"):
        for axis in (1, 2):
            total += np.abs(rows[:, axis])
    return (total > 0) & (total < FARTHEST_M)  # not so for NaN


def has_return(points: np.ndarray) -> np.ndarray:
    """Return (M,) bool: which x, y, z (the first columns) are finite and not all 0, as no return's are."""
    return with_return(points[:, 0], points[:, 1], points[:, 2])  # column by column: five times as fast as by rows


def with_return(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return (M,) bool: which coordinates are finite and not all 0."""
    kept = (x != 0) | (y != 0) | (z != 0)
    for axis in (x, y, z):
        if axis.dtype.kind == "f":
            kept &= np.isfinite(axis)
    return kept


def size_problem(size: int, columns: int) -> str | None:
    """Return what is wrong with the bytes of a file of points; None for a good one."""
    if not size:
        return "the file is empty: 0 bytes"
    return f"{size} bytes are no whole number of points" if size % (4 * columns) else None


def refuse_far(points: np.ndarray, path: Path, clip: str | None, first: int = 0) -> None:
    """Raise a DataError where a finite coordinate (columns 0 to 2) is beyond 100 km: the file holds something else.

    Args:
        points: (N, 3) or more columns.
        path: for the message.
        clip: for the message.
        first: number of the first of the points.
    """
    with np.errstate(invalid="ignore"):
        if not len(points) or np.abs(points[:, :3]).max() < FARTHEST_M:  # not so with NaN in them
            return
        wrong = (np.isfinite(points[:, :3]) & ~(np.abs(points[:, :3]) < FARTHEST_M)).any(1)
    if wrong.any():
        row = int(np.argmax(wrong))
        found = " ".join(f"{value:g}" for value in points[row, :3])
        raise DataError(
            f"{int(wrong.sum())} of {len(points)} points have impossible coordinates, the first is {found}",
            file=path,
            clip=clip,
            key=f"point {first + row}",
            wanted=f"{points.dtype}, {points.shape[1]} per point, meters",
        )


def read_class_labels(path: Path, dtype: str, count: int, clip: str | None = None) -> np.ndarray:
    """Return (count,) uint16 classes of a headerless label file; of uint32 entries the low 16 bits (SemanticKITTI).

    Raises:
        DataError: the number of labels is not the number of points.
    """
    return _entries(path, dtype, count, clip).astype(np.uint16)  # the low bits


def read_labels_and_instances(path: Path, count: int, clip: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return (count,) uint16 classes and (count,) uint32 instances of a SemanticKITTI label file.

    Raises:
        DataError: the number of labels is not the number of points.
    """
    entries = _entries(path, "<u4", count, clip)
    return entries.astype(np.uint16), np.right_shift(entries, 16, out=entries)


def _entries(path: Path, dtype: str, count: int, clip: str | None) -> np.ndarray:
    wanted = np.dtype(dtype).itemsize * count
    try:
        expect_plain_file(path, clip)
        found = path.stat().st_size
        entries = np.fromfile(path, dtype, count) if found == wanted else np.zeros(0, dtype)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=path, clip=clip, wanted="labels") from error
    if found != wanted or len(entries) != count:
        raise DataError(f"{found} bytes of labels for {count} points", file=path, clip=clip, wanted=f"{wanted} bytes")
    return entries.astype(np.uint32, copy=False)


@runtime_checkable
class HeaderlessFiles(Protocol):
    """``read`` of a lidar whose sweeps are files that do not tell what they hold."""

    def __call__(self, index: int) -> Sweep:
        """Read sweep ``index``."""

    def with_columns(self, columns: int) -> HeaderlessFiles:
        """Return what reads files of so many numbers per point, without a look at whether they are."""

    def problems(self) -> dict[int, str]:
        """Return sweep -> why it cannot be read, as far as the sizes of the files tell."""


@dataclass(frozen=True)
class PointSweeps:
    """``read`` of a lidar whose sweeps are float32 point files.

    Attributes:
        clip_id: for messages.
        files: one per sweep.
        columns: float32 values per point: x y z intensity and what else there may be.
        labels: one file or None per sweep; None where there are no labels at all.
        label_dtype: of an entry of a label file; ``<u4`` holds class and instance, as SemanticKITTI has them.
        sensor_R_file: (3, 3) turns the axes of the file into x forward, y left, z up; None where they are those.
        ring_column: column with the number of the laser; None where there is none.
        reference_SE3_points: (N, 4, 4) moves points to where they lay at the start of the sweep; None: not moved.
        columns_stated: the user states ``columns``.
        unusable: (sweep, why) of sweeps that are on disk and cannot be used.
    """

    clip_id: str
    files: tuple[Path, ...]
    columns: int = 4
    labels: tuple[Path | None, ...] | None = None
    label_dtype: str = "<u4"
    sensor_R_file: np.ndarray | None = None
    ring_column: int | None = None
    reference_SE3_points: np.ndarray | None = None
    columns_stated: bool = False
    unusable: tuple[tuple[int, str], ...] = ()

    def __call__(self, index: int) -> Sweep:
        """Read sweep ``index``.

        Raises:
            DataError: as :func:`read_float_points`, labels that do not fit, or a sweep in ``unusable``.
        """
        return self.read_kept(index)[0]

    def read_kept(self, index: int) -> tuple[Sweep, np.ndarray]:
        """Return sweep ``index``, and which rows of its file are points, (M,) bool: the others are without return."""
        if index in (unusable := dict(self.unusable)):
            raise DataError(unusable[index], file=self.files[index], clip=self.clip_id)
        ring_column = self.ring_column if self.ring_column is not None and self.ring_column < self.columns else None
        more = {column for column in (3, ring_column) if column is not None and column < self.columns}
        points, values, kept = read_float_points(
            self.files[index], self.columns, more, self.clip_id, stated=self.columns_stated
        )
        if self.sensor_R_file is not None:
            move_points(points, self.sensor_R_file.astype(np.float32))
        if self.reference_SE3_points is not None:
            move = self.reference_SE3_points[index]
            move_points(points, move[:3, :3], move[:3, 3])
        ring = (
            None
            if ring_column is None
            else _rings(values[ring_column] if ring_column == 3 else values.pop(ring_column))
        )
        labels, instance = self._labels(index, kept)
        without = int(len(kept) - len(points))
        sweep = Sweep(
            points=points, intensity=values.get(3), labels=labels, instance=instance, ring=ring, without_return=without
        )
        return sweep, kept

    def _labels(self, index: int, kept: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        file = self.labels[index] if self.labels is not None else None
        if file is None:
            return None, None
        if self.label_dtype == "<u4":
            labels, instance = read_labels_and_instances(file, len(kept), self.clip_id)
            return select(labels, kept), select(instance, kept)
        return select(read_class_labels(file, self.label_dtype, len(kept), self.clip_id), kept), None

    def with_columns(self, columns: int) -> PointSweeps:
        """Return what reads files of so many numbers per point, without a look at whether they are."""
        return replace(self, columns=columns, columns_stated=True)

    def problems(self) -> dict[int, str]:
        """Return sweep -> why it cannot be read, as far as the sizes of the files tell."""
        found = {index: f"{why} ({self.files[index].name})" for index, why in self.unusable}
        for index, file in enumerate(self.files):
            try:
                problem = size_problem(file.stat().st_size, self.columns)
            except OSError as error:
                problem = f"cannot be read: {error.strerror}"
            if problem:
                found.setdefault(index, f"{problem} ({file.name})")
        return dict(sorted(found.items()))


def _rings(values: np.ndarray) -> np.ndarray | None:
    """Return (N,) uint16 numbers of lasers; None where the column holds something else, as converted files may."""
    with np.errstate(invalid="ignore"):
        rings = values.astype(np.uint16)
    return rings if (rings == values).all() else None  # not so of NaN, fractions, and what 16 bits do not hold


@dataclass(frozen=True)
class ImageFiles:
    """``read`` of a camera whose images are single files."""

    files: tuple[Path, ...]
    clip_id: str | None = None

    def __call__(self, index: int) -> np.ndarray:
        """Return image ``index`` as (H, W, 3) uint8 RGB, as a viewer shows it.

        Raises:
            DataError: it cannot be read.
        """
        return read_image(self.files[index], clip=self.clip_id)


# Names of before.
PictureFiles, picture_size, refuse_picture = ImageFiles, image_size, refuse_image
