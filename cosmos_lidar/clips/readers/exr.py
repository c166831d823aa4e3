"""OpenEXR range maps: folders that ``convert-clips --to exr`` writes, a file per sweep, with stamps, poses and beams.

Channels are those of :mod:`cosmos_lidar.clips.writers.exr`: ``Y`` (range, meters), ``intensity``, ``elongation``,
``label``, ``instance``, ``ring``, ``time_us``, and the same of second returns after ``second.``; others are left out.
Half floats are taken as well. Beside the files lie ``sensor.yaml``, whose rows and columns they have, and, if known,
``timestamps.csv``, ``poses.csv`` and ``lidar.json``, as beside clouds (:mod:`cosmos_lidar.clips.readers.folder`).
Folders ``lidars/NAME`` hold further lidars. Needs the extra ``exr``.

Not read: depth maps of cameras, which have no images (``cosmos_lidar.clips.exr.read_exr`` reads their files).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.clips.clip import Clip, LidarStream
from cosmos_lidar.clips.exr import read_exr
from cosmos_lidar.clips.files import clean_id, natural_key
from cosmos_lidar.clips.readers._each import OnError, open_each
from cosmos_lidar.clips.readers.folder.beside import SENSOR_FILE, read_beside
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.clips.sweep import RETURN_VALUES, Sweep
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import visible, visible_files
from cosmos_lidar.sensors.sensor import Sensor, load_sensor

DESCRIPTION = "folders of OpenEXR range maps with sensor.yaml, as convert-clips writes them"
ASSUMED = "range maps of the sensor that is named"
EXAMPLE_LAYOUT = """
FOLDER/000000.exr                                             (generic) nothing but range maps, with --sensor

CLIP/000000.exr, CLIP/sensor.yaml                             one range map per sweep
CLIP/timestamps.csv, CLIP/poses.csv, CLIP/lidar.json          (optional)
CLIP/lidars/rear/000000.exr, CLIP/lidars/rear/sensor.yaml     (optional: more lidars)
"""
CHANNELS = {"range_m": "Y", "intensity": "intensity", "elongation": "elongation", "labels": "label",
            "instance": "instance", "ring": "ring", "time_us": "time_us"}  # fmt: skip
SECOND = "second."
_WANTED = "a channel Y of ranges in meters, 0 without a return"


def recognise(path: Path) -> Strength:
    """Return EXACT for folders of ``.exr`` files with ``sensor.yaml``, GENERIC for those without."""
    folders = _folders(path)[:8]
    if any((folder / SENSOR_FILE).is_file() for folder in folders):
        return Strength.EXACT
    return Strength.GENERIC if folders else Strength.NONE


def open_clips(path: Path, sensor: Sensor | None = None, on_error: OnError | None = None) -> list[Clip]:
    """Return one clip per folder of range maps.

    Raises:
        DataError: no range map, no sensor, or stamps, poses or facts that cannot be read or do not fit.
        UserError: OpenEXR is not installed.
    """
    folders = _folders(path)
    if not folders:
        raise DataError("no range map in it", file=path, wanted="files 000000.exr, … and sensor.yaml")
    return open_each((partial(_open, folder, sensor) for folder in folders), on_error)


def _files(folder: Path) -> list[Path]:
    return sorted(visible_files(folder, "*.exr"), key=lambda file: natural_key(file.name))


def _folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return [path] if _files(path) else [one for one in visible(path, "*") if one.is_dir() and _files(one)]


def _open(folder: Path, sensor: Sensor | None) -> Clip:
    name = clean_id(folder.resolve().name)
    main, notes = _lidar(folder, sensor, name)
    lidars = {main.name: main}
    for place in sorted(one for one in visible(folder, "lidars/*") if _files(one)):
        other, remarks = _lidar(place, None, name)
        lidars[other.name] = other
        notes += tuple(f"{other.name}: {remark}" for remark in remarks)
    depth = [place.name for place in visible(folder, "depth/*") if place.is_dir()]
    if depth:
        notes += (f"depth maps of {len(depth)} cameras are not read",)
    return Clip(name, folder, "exr", lidars, notes=notes)


def _lidar(folder: Path, sensor: Sensor | None, clip: str) -> tuple[LidarStream, tuple[str, ...]]:
    files, beams = tuple(_files(folder)), folder / SENSOR_FILE
    if sensor is None:
        if not beams.is_file():
            raise DataError("no sensor", file=beams, clip=clip, wanted=f"{SENSOR_FILE}, or --sensor")
        sensor = load_sensor(beams)
    there = read_beside(folder, files, sensor, clip)
    return there.lidar(sensor, files, ExrSweeps(clip, files, sensor.shape)), there.notes


@dataclass(frozen=True)
class ExrSweeps:
    """``read`` of a lidar whose sweeps are OpenEXR range maps.

    Attributes:
        clip_id: for messages.
        files: one per sweep.
        shape: rows and columns that they have.
    """

    clip_id: str
    files: tuple[Path, ...]
    shape: tuple[int, int]

    def __call__(self, index: int) -> Sweep:
        """Read sweep ``index``.

        Raises:
            DataError: a broken file, one of another shape or without ranges, or values that cannot be.
        """
        file = self.files[index]
        channels = read_exr(file, shape=self.shape, clip=self.clip_id)
        first = self._sweep(channels, "", file)
        if SECOND + CHANNELS["range_m"] not in channels:
            return first
        return replace(first, second_return=self._sweep(channels, SECOND, file))

    def _sweep(self, channels: dict[str, np.ndarray], prefix: str, file: Path) -> Sweep:
        key = prefix + CHANNELS["range_m"]
        ranges = channels.get(key)
        if ranges is None or ranges.dtype != np.float32:
            found = f"channels {', '.join(sorted(channels))}"[:300]
            raise DataError(found, file=file, clip=self.clip_id, key=key, wanted=_WANTED)
        if not (np.isfinite(ranges) & (ranges >= 0)).all():
            problem = "ranges that are NaN, infinite or below 0"
            raise DataError(problem, file=file, clip=self.clip_id, key=key, wanted=_WANTED)
        values: dict[str, Any] = {}
        for name in RETURN_VALUES:
            if (held := channels.get(prefix + CHANNELS[name])) is not None:
                values[name] = self._whole(held, name, file)
        return Sweep(range_m=ranges, **values)

    def _whole(self, values: np.ndarray, name: str, file: Path) -> np.ndarray:
        """Return values in the dtype of their kind; refuse those that do not fit in it."""
        dtype: np.dtype[Any] = np.dtype(RETURN_VALUES[name])
        if dtype.kind == "f":
            return values.astype(dtype, copy=False)
        limits = np.iinfo(str(dtype))
        exact = values.astype(np.float64)
        if not ((exact >= limits.min) & (exact <= limits.max) & (exact == np.floor(exact))).all():
            wanted = f"whole numbers from {limits.min} to {limits.max}"
            raise DataError(f"{name} that are no {dtype}", file=file, clip=self.clip_id, key=name, wanted=wanted)
        return values.astype(dtype)
