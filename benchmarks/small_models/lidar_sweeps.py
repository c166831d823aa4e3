"""Range maps of synthetic drives, and crops of them: what the small lidar tokenizer is trained on.

Drives take turns between three sensors. Their maps become images about 128 pixels high as ``small_images`` has them, or
cut out of the 512 pixels of the sensors' own formats; one map is one step of a training.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from common import arrays_of_drives
from torch import Tensor

from cosmos_lidar.demo.recordings import small_images
from cosmos_lidar.files import atomic_write
from cosmos_lidar.sensors import Sensor, load_sensor
from cosmos_lidar.sensors.range_image import pair_columns, prepare_range_map
from cosmos_lidar.sensors.sensor import RangeMapFormat
from cosmos_lidar.synth import synthesize_drive

SENSORS = ("uniform64", "uniform64", "kitti_hdl64e", "nuscenes_hdl32e")
FRAMES = (0, 25, 50, 75)  # of a drive, seconds apart
HEIGHT, WIDTH = 128, 512  # of the images
_OWN_FORMAT = 0.25  # share of steps
_SCALE = 0.2  # ranges are multiplied by up to 1 +/- this


def sensor_of(seed: int) -> Sensor:
    """Return the sensor of a drive."""
    return load_sensor(SENSORS[seed % len(SENSORS)])


def cast_drives(folder: Path, seeds: Sequence[int], jobs: int = 1) -> dict[int, np.ndarray]:
    """Return the range maps of drives by seed, (4, rows, columns) meters; those in the folder are not made again.

    Args:
        folder: with a file of each drive.
        seeds: of the drives.
        jobs: processes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return arrays_of_drives({seed: _file(folder, seed) for seed in seeds}, partial(_cast, folder), jobs)


def _cast(folder: Path, seed: int) -> None:
    clip = synthesize_drive(seed, sensor_of(seed), FRAMES[-1] + 1)
    maps = np.stack([clip.range_map(number) for number in FRAMES]).astype(np.float32)
    with atomic_write(_file(folder, seed)) as partial_file, partial_file.open("wb") as stream:
        np.save(stream, maps)


def _file(folder: Path, seed: int) -> Path:
    return folder / f"drive_{seed:06d}.npy"


def step_image(drives: dict[int, np.ndarray], step: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return the image (1, 3, 128, <= 544) in [-1, 1] of a step and its returns (1, 1, H, W), the same every time.

    Args:
        drives: maps by seed.
        step: of the training.
        seed: of the run.
    """
    rng = np.random.default_rng([seed, step])
    drive = list(drives)[rng.integers(len(drives))]
    sensor, maps = sensor_of(drive), drives[drive]
    format = small_images(sensor).format if rng.random() > _OWN_FORMAT else sensor.format
    range_m = _varied(maps[rng.integers(len(maps))], rng)
    merged = pair_columns(range_m, format.pair_columns)[0]
    rows = max(HEIGHT // format.repeat_rows, 1)
    top = int(rng.integers(len(merged) - rows + 1)) if len(merged) > rows else 0
    width = min(merged.shape[1], WIDTH) // 8 * 8
    return _image(np.ascontiguousarray(merged[top : top + rows, :width]), format)


def _varied(range_m: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a map turned around the vertical, mirrored at random, and nearer or farther."""
    range_m = np.roll(range_m, int(rng.integers(range_m.shape[1])), axis=1)
    range_m = range_m[:, ::-1] if rng.random() < 0.5 else range_m
    return range_m * np.float32(rng.uniform(1 - _SCALE, 1 + _SCALE))


def _image(merged: np.ndarray, format: RangeMapFormat) -> tuple[Tensor, Tensor]:
    image = prepare_range_map(merged, RangeMapFormat(format.min_range_m, format.max_range_m, 1, format.repeat_rows))
    inside = (merged > format.min_range_m) & (merged < format.max_range_m)
    valid = np.repeat(inside, format.repeat_rows, axis=0)
    return torch.from_numpy(image)[None], torch.from_numpy(valid)[None, None]
