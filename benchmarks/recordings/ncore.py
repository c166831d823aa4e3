"""An NCore V4 sequence of 128 x 3600 ray bundles, written by NCore's own writer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cosmos_lidar.clips import Clip, Sweep
from cosmos_lidar.sensors import Sensor, range_map_to_points
from recordings.street import Read, Street
from tests.clips.readers.ncore.recording import FRAMES, LIDAR, START_US, v4
from tests.clips.readers.ncore.recording import write as write_sequence


def write(root: Path, street: Street) -> Path:
    """Write a sequence of two frames."""
    sensor = street.sensor("pandar128_row_offset")
    sweeps = iter(street.sweeps(sensor)[:FRAMES])
    write_sequence(root / "drive-7", beams=sensor, change=lambda rays: rays.update(_rays(next(sweeps), sensor, rays)))
    return root


def _rays(sweep: Sweep, sensor: Sensor, before: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    seen = sweep.range_m > 0
    points = range_map_to_points(sweep.range_m, sensor).astype(np.float64)
    distance = np.linalg.norm(points, axis=1)
    start = (int(before["timestamp_us"].min()) - START_US) // 100_000 * 100_000 + START_US
    return {
        "direction": (points / distance[:, None]).astype(np.float32),
        "timestamp_us": (start + sweep.time_us[seen].astype(np.int64)).astype(np.uint64),
        "model_element": np.stack(np.nonzero(seen), 1).astype(np.uint16),
        "distance_m": distance[None].astype(np.float32),
        "intensity": sweep.intensity[seen].astype(np.float32)[None],
    }


def reads(clip: Clip) -> list[Read]:
    """Return the sweeps beside NCore's own reader: directions, elements, times, distances and intensities."""
    lidar = clip.lidar
    stores = sorted(clip.source.parent.glob("*.itar")) if clip.source.is_file() else sorted(clip.source.rglob("*.itar"))
    opened = v4.SequenceComponentGroupsReader(stores, max_threads=1)
    loader = v4.SequenceLoaderV4(opened, masks_component_group_name=None, cuboids_component_group_name=None)
    theirs = loader.get_lidar_sensor(LIDAR)

    def decode(index: int) -> list[object]:
        rays = (theirs.get_frame_ray_bundle_direction, theirs.get_frame_ray_bundle_model_element,
                theirs.get_frame_ray_bundle_timestamp_us)  # fmt: skip
        returns = (theirs.get_frame_ray_bundle_return_distance_m, theirs.get_frame_ray_bundle_return_intensity)
        return [*(one(index) for one in rays), *(one(index, 0) for one in returns)]

    return [Read(lidar.name, lidar.read, len(lidar), decode, "NCore")]
