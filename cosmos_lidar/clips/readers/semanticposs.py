"""SemanticPOSS: sequences of a Hesai Pandora in the layout of SemanticKITTI, with a tag file per scan.

``velodyne/NNNNNN.bin`` holds float32 x y z intensity, ``labels/NNNNNN.label`` a class (lower 16 bits) and an instance
(upper 16 bits) per point. ``tag/NNNNNN.tag`` has a byte for each of the 40 x 1800 pixels of the scan, 1 where it has a
point: points follow each other row by row. The row becomes ``ring``, counted from 0 in the order of the file. Range
maps are projected, as for other clouds: at which azimuth the columns of the tags start is not published.

Taken for granted, and noted in every clip: axes x forward, y left, z up, points as measured, 10 scans a second where
there is no ``times.txt``. ``calib.txt`` and ``poses.txt``, where present, are read as those of SemanticKITTI.
Not read: ``instances.txt``. There are no images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from cosmos_lidar.bounds import read_file
from cosmos_lidar.clips.blocks import select
from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.files import PointSweeps
from cosmos_lidar.clips.readers._each import OnError, open_each
from cosmos_lidar.clips.readers.kitti.scans import find_folders, has_tags
from cosmos_lidar.clips.readers.kitti.sequences import open_sequence
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.sensor import Sensor, load_sensor

DESCRIPTION = "SemanticPOSS: sequences with velodyne/, labels/ and tag/, 40 beams"
EXAMPLE_LAYOUT = """
sequences/00/velodyne/000000.bin, sequences/00/tag/000000.tag                                 also below dataset/
sequences/00/labels/000000.label, sequences/00/calib.txt, sequences/00/poses.txt              (optional)
"""
_ROWS, _COLUMNS = 40, 1800
_ASSUMED = "taken for granted: x forward, y left, z up, points as measured (no motion compensation)"


def recognise(path: Path) -> Strength:
    """Return EXACT where a sequence has tag files."""
    folders = (folder for folder, kind in find_folders(path)[:32] if kind == "sequence")
    return Strength.EXACT if any(has_tags(folder) for folder in folders) else Strength.NONE


def open_clips(path: Path, sensor: Sensor | None = None, on_error: OnError | None = None) -> list[Clip]:
    """Return one clip per sequence.

    Raises:
        DataError: no scan in a sequence; calibration, poses or times that cannot be read.
    """
    sensor = sensor or load_sensor("hesai_pandora40")
    folders = [folder for folder, kind in find_folders(path) if kind == "sequence"]
    return open_each((partial(_open_sequence, folder, sensor) for folder in folders), on_error)


def _open_sequence(folder: Path, sensor: Sensor) -> Clip:
    clip = open_sequence(folder, sensor, "semanticposs", compensated=False)
    points = clip.read_sweep
    if not isinstance(points, PointSweeps):
        raise TypeError(f"expected PointSweeps, got {type(points).__name__}")
    tags = tuple(folder / "tag" / f"{file.stem}.tag" for file in points.files)
    missing = sum(not tag.is_file() for tag in tags)
    notes = (_ASSUMED, *clip.notes)
    if missing:
        notes = (*notes, f"{missing} of {len(tags)} scans have no tag file: no rings")
    read = TaggedSweeps(points, tuple(tag if tag.is_file() else None for tag in tags))
    return replace(clip.with_lidar(read=read), notes=notes)


@dataclass(frozen=True)
class TaggedSweeps:
    """``read`` of a lidar whose scans have tag files.

    Attributes:
        points: reads points and labels.
        tags: one or None per scan: a byte per pixel of the scan, row by row, 1 where it has a point.
    """

    points: PointSweeps
    tags: tuple[Path | None, ...]

    def __call__(self, index: int) -> Sweep:
        """Read sweep ``index``.

        Raises:
            DataError: as of the points, or a tag file that is broken or of another scan.
        """
        (sweep, kept), file = self.points.read_kept(index), self.tags[index]
        if file is None:
            return sweep
        wanted = f"{_ROWS * _COLUMNS} bytes, 0 or 1, with as many 1 as there are points"
        try:
            tag = np.frombuffer(read_file(file, "a tag file", clip=self.points.clip_id), np.uint8)
        except OSError as error:
            problem = f"cannot be read: {error.strerror}"
            raise DataError(problem, file=file, clip=self.points.clip_id, wanted=wanted) from error
        seen = np.count_nonzero(tag)
        if len(tag) != _ROWS * _COLUMNS or tag.max() > 1 or seen != len(kept):
            problem = f"{len(tag)} bytes, {seen} of them not 0, for {len(kept)} points"
            raise DataError(problem, file=file, clip=self.points.clip_id, wanted=wanted)
        in_row = np.count_nonzero(tag.reshape(_ROWS, _COLUMNS), axis=1)
        return replace(sweep, ring=select(np.repeat(np.arange(_ROWS, dtype=np.uint16), in_row), kept))

    def with_columns(self, columns: int) -> TaggedSweeps:
        """Return what reads point files of so many numbers per point."""
        return replace(self, points=self.points.with_columns(columns))

    def problems(self) -> dict[int, str]:
        """Return sweep -> why it cannot be read, as far as the sizes of the files tell."""
        return self.points.problems()
