"""nuScenes point files without tables."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip, one_lidar_clip
from cosmos_lidar.clips.files import PointSweeps, clean_id
from cosmos_lidar.clips.readers.nuscenes.infos import Infos, info_cameras, read_infos
from cosmos_lidar.clips.readers.nuscenes.sweeps import COLUMNS, LIDAR, OURS_R_THEIRS, RING_COLUMN, sweep_times
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import visible_files
from cosmos_lidar.sensors.sensor import Sensor

_LONGEST_PAUSE_US = 5_000_000
_DIGITS = 16  # of microseconds since 1970; more is no time


def point_files(path: Path) -> list[Path]:
    """Return the ``.pcd.bin`` files at ``path``, at the places where nuScenes and its users have them."""
    if path.is_file():
        return [path] if path.name.endswith(".pcd.bin") else []
    places = (path, path / "samples" / LIDAR, path / "sweeps" / LIDAR, path / LIDAR)
    return [file for place in places for file in visible_files(place, "*.pcd.bin")]


def open_bare(path: Path, sensor: Sensor) -> list[Clip]:
    """Return one clip per log and uninterrupted stretch of file stamps.

    Raises:
        DataError: a file whose name holds no stamp.
    """
    logs: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    for file in point_files(path):
        stem = file.name.removesuffix(".pcd.bin")
        log, _, stamp = stem.rpartition(f"__{LIDAR}__")
        if not stamp.isdecimal() or len(stamp) > _DIGITS:
            raise DataError("no stamp in the file name", file=file, wanted=f"<log>__{LIDAR}__<microseconds>.pcd.bin")
        logs[log or path.resolve().name].append((int(stamp), file))
    infos, notes = _infos(path)
    return [
        clip
        for log, stamped in logs.items()
        for clip in _stretches(clean_id(log), sorted(stamped), path, sensor, infos, notes)
    ]


def _infos(path: Path) -> tuple[dict[Path, Infos], tuple[str, ...]]:
    """Return what info files say, by file, and remarks on those that cannot be read."""
    infos, notes = {}, ["no tables: no poses, and cameras only where listed in an info file"]
    for file in visible_files(path, "*.pkl") if path.is_dir() else []:
        try:
            infos[file] = read_infos(file)
        except DataError as error:
            notes.append(f"skipped {file.name}: {error.problem}")
    return infos, tuple(notes)


def _stretches(
    log: str,
    stamped: list[tuple[int, Path]],
    path: Path,
    sensor: Sensor,
    infos: dict[Path, Infos],
    notes: tuple[str, ...],
) -> list[Clip]:
    """Return one clip per stretch of a log without a pause of 5 s: scenes are cut out of logs that go on for hours."""
    stamps = np.array([stamp for stamp, _ in stamped])
    cuts = np.flatnonzero(np.diff(stamps) > _LONGEST_PAUSE_US) + 1
    clips = []
    for number, chosen in enumerate(np.split(np.arange(len(stamped)), cuts)):
        name = log if not len(cuts) else f"{log}_{number:03d}"
        files = tuple(stamped[k][1] for k in chosen)
        sweeps = PointSweeps(name, files, COLUMNS, sensor_R_file=OURS_R_THEIRS, ring_column=RING_COLUMN)
        frames = tuple(str(stamp) for stamp in stamps[chosen])
        cameras: dict[str, CameraStream] = {}
        for file, entries in infos.items():
            cameras |= info_cameras(entries, file, files, name, OURS_R_THEIRS)
        times = sweep_times(stamps[chosen], sensor)
        clips.append(one_lidar_clip(name, sensor, frames, times, sweeps, path, "nuscenes", motion_compensated=True,
                                    cameras=cameras, notes=notes, name=LIDAR))  # fmt: skip
    return clips
