"""A synthetic street as lidars of real size see it, and what is measured of a recording of it."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from cosmos_lidar.clips import Clip, Sweep
from cosmos_lidar.clips.files import FARTHEST_M, file_of
from cosmos_lidar.clips.sweep import to_points
from cosmos_lidar.sensors import Sensor, load_sensor
from cosmos_lidar.synth import synthesize_drive


class Read(NamedTuple):
    """One thing that a reader reads, and the same by its decoder alone.

    Attributes:
        what: it is, such as ``TOP, first returns``.
        read: number of a frame -> what the reader returns.
        frames: how many there are.
        floor: number of a frame -> the decoder's work for it, on bytes that are in memory.
        decoder: its name.
    """

    what: str
    read: Callable[[int], Any]
    frames: int
    floor: Callable[[int], Any]
    decoder: str


@dataclass(frozen=True)
class Street:
    """Sweeps of one street.

    Attributes:
        frames: sweeps per recording.
        share: of the rows and of the columns of each sensor that are kept; 1 for real size.
    """

    frames: int
    share: float = 1.0

    def sensor(self, name: str) -> Sensor:
        """Return a shipped sensor, with fewer rows and columns where a share is kept."""
        sensor = load_sensor(name)
        step = round(1 / self.share)
        return replace(
            sensor,
            columns=sensor.columns // step,
            row_elevations_rad=sensor.row_elevations_rad[::step],
            row_azimuth_offsets_rad=sensor.row_azimuth_offsets_rad[::step],
        )

    def sweeps(self, sensor: Sensor) -> list[Sweep]:
        """Return range images with intensity, class, instance and time."""
        key = sensor.to_yaml(), self.frames
        if key not in _MADE:
            drive = synthesize_drive(5, sensor, self.frames)
            _MADE[key] = [drive.read_sweep(index) for index in range(self.frames)]
        return _MADE[key]

    def clouds(self, sensor: Sensor) -> list[Sweep]:
        """Return the sweeps as points."""
        return [to_points(sweep, sensor) for sweep in self.sweeps(sensor)]

    def tables(self, sensor: Sensor) -> list[np.ndarray]:
        """Return (N, 4) float32 x y z intensity of each sweep, as most datasets have them."""
        return [np.column_stack([one.points, one.intensity]).astype(np.float32) for one in self.clouds(sensor)]

    def jpeg(self, width: int, height: int, seed: int = 0) -> bytes:
        """Return an image with the detail of a street: 0.2 bytes per pixel, about as those of the datasets."""
        width, height = round(width * self.share), round(height * self.share)
        return _jpeg(width, height, seed)


_MADE: dict[tuple[str, int], list[Sweep]] = {}  # by sensor and number of sweeps


@lru_cache(maxsize=8)
def _jpeg(width: int, height: int, seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    pixels = np.clip(smooth + rng.normal(0, 6, smooth.shape).astype(np.int16), 0, 255).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=75)
    return content.getvalue()


def point_records(cloud: Sweep, dtype: Any) -> np.ndarray:
    """Return (N,) records of points; the fields of ``dtype`` are x, y, z, intensity, ring and time, of any names."""
    table = np.zeros(len(cloud.points), dtype)
    columns = (*cloud.points.T, cloud.intensity, cloud.ring, cloud.time_us)
    for name, values in zip(table.dtype.names, columns, strict=True):
        table[name] = values
    return table


def decode_jpeg(content: bytes) -> np.ndarray:
    """Return (H, W, 3) uint8: what Pillow alone does."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def plain_reads(clip: Clip) -> list[Read]:
    """Return the sweeps of the main lidar, beside reading the file of each, or its share of the file of all.

    Of a clip without a lidar, the images of its first camera.
    """
    lidar = clip.lidar if clip.lidars else next(iter(clip.cameras.values()))
    largest = max((path for path in (clip.source, *clip.source.rglob("*")) if path.is_file()), key=_size)
    files = [file_of(lidar.read, index) or largest for index in range(len(lidar))]
    sizes = {file: _size(file) // files.count(file) for file in files}

    def read_bytes(index: int) -> bytes:
        with files[index].open("rb") as stream:
            return stream.read(sizes[files[index]])

    return [Read(lidar.name, lidar.read, len(lidar), read_bytes, "file")]


def numpy_reads(clip: Clip) -> list[Read]:
    """Return the sweeps of headerless files beside numpy alone: ``np.fromfile``, the checks of coordinates, columns."""
    lidar = clip.lidar
    files, columns, labels = lidar.read.files, lidar.read.columns, lidar.read.labels or ()

    def floor(index: int) -> tuple[np.ndarray, ...]:
        values = np.fromfile(files[index], "<f4").reshape(-1, columns)
        if not (np.isfinite(values).all() and np.abs(values[:, :3]).max() < FARTHEST_M and values[:, 0].all()):
            raise ValueError("a street has no such points")
        classes = [np.fromfile(file, "<u4") for file in labels[index : index + 1] if file]
        more = [part for entries in classes for part in (entries.astype(np.uint16), entries >> 16)]
        return values[:, :3].copy(), values[:, 3].copy(), *more

    return [Read(lidar.name, lidar.read, len(lidar), floor, "numpy, same checks")]


def _size(file: Path) -> int:
    return file.stat().st_size


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file and the folders that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
