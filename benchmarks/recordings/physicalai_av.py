"""A clip of PhysicalAI-Autonomous-Vehicles: Draco clouds of 200,000 points in parquet, a camera of 1920 x 1080."""

from __future__ import annotations

import json
from pathlib import Path

import DracoPy
import numpy as np

from cosmos_lidar.clips import Clip, Sweep
from cosmos_lidar.clips.parquet import read_cell
from cosmos_lidar.sensors import Sensor, model_of_sensor, range_map_to_points
from recordings.street import Read, Street
from tests.clips.readers.physicalai_av.recording import FIRST_US, ONE, Recording, draco

POINTS = 200_000


def write(root: Path, street: Street) -> Path:
    """Write chunk zips of clips whose spins are the street's."""
    sensor = street.sensor("pandar128_row_offset")
    recording = Recording(street.frames)
    clouds = [draco(_spin(sweep, sensor, index)) for index, sweep in enumerate(street.sweeps(sensor))]
    for spins in recording.spins.values():
        for row, cloud in zip(spins, clouds, strict=True):
            row["draco_encoded_pointcloud"] = cloud
    for row in recording.calibration["lidar_intrinsics.offline"]:
        row["model_parameters"] = json.dumps(model_of_sensor(sensor))
    return recording.write_chunks(root / "PhysicalAI")


def _spin(sweep: Sweep, sensor: Sensor, index: int) -> dict[str, np.ndarray]:
    """Return points, intensity, timestamp and model_element of as many returns as the real clouds have."""
    row, column = np.nonzero(sweep.range_m)
    chosen = np.random.default_rng(index).permutation(len(row))[:POINTS]
    seen = sweep.range_m > 0
    return {
        "points": range_map_to_points(sweep.range_m, sensor)[chosen],
        "intensity": np.rint(sweep.intensity[seen] * 255).astype(np.uint8)[chosen, None],
        "timestamp": (FIRST_US + index * 100_000 + sweep.time_us[seen]).astype(np.uint32)[chosen, None],
        "model_element": np.stack([row, column], 1).astype(np.uint16)[chosen],
    }


def reads(clip: Clip) -> list[Read]:
    """Return the sweeps beside DracoPy."""
    lidar = clip.lidar
    cells = [read_cell(lidar.read.source, "draco_encoded_pointcloud", index, ONE) for index in range(len(lidar))]
    return [Read(lidar.name, lidar.read, len(lidar), lambda index: DracoPy.decode(cells[index]), "Draco")]
