"""A spinning lidar in a scene: every column looks from where the vehicle is at its own moment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from cosmos_lidar.clips.clip import Sweep
from cosmos_lidar.errors import UserError
from cosmos_lidar.sensors import Sensor, ray_directions
from cosmos_lidar.synth.labels import DEPTH_M, GLASS, REFLECTIVITY
from cosmos_lidar.synth.primitives import Primitives
from cosmos_lidar.synth.rays import RayTiles, cast, patches
from cosmos_lidar.synth.surface import Surface, look_up
from cosmos_lidar.synth.terrain import Terrain

_PATCH = (8, 32)


@dataclass(frozen=True)
class Noise:
    """What separates a measured sweep from an exact one.

    Attributes:
        range_m: standard deviation of a range.
        drop: share of pulses lost for no reason.
        weakest: returned power, relative to a white wall at 10 m seen head-on, at which half of the pulses are lost.
    """

    range_m: float = 0.015
    drop: float = 0.004
    weakest: float = 0.00012


def cast_sweep(
    sensor: Sensor,
    bodies: Primitives,
    terrain: Terrain | None,
    world_SE3_lidar: np.ndarray,
    duration_s: float,
    noise: Noise | None = None,
    rng: np.random.Generator | None = None,
) -> Sweep:
    """Return one revolution of ``sensor`` in a scene.

    Args:
        sensor: any spinning lidar.
        bodies: the bodies at the middle of the revolution, with velocities.
        terrain: the ground; None for none.
        world_SE3_lidar: (2, 4, 4) the sensor at the start and the end of the revolution; between them the position
            is interpolated linearly, the rotation along the shortest arc.
        duration_s: time of one revolution.
        noise: what to add; None for exact ranges.
        rng: source of the noise; needed with ``noise``.

    Returns:
        A sweep with range_m, intensity in [0, 1], labels and instance, each (rows, columns), 0 = no return; time_us and
        ring of every pixel.
    """
    tiles = _sweep_rays(sensor, world_SE3_lidar, duration_s)
    hits = cast(tiles, bodies, terrain, sensor.max_range_m)
    found = look_up(tiles, hits, bodies, terrain)
    range_m, power = found.distance_m, REFLECTIVITY[found.material] * found.cosine
    if noise is not None:
        if rng is None:
            raise UserError("noise without rng: give a numpy random generator")
        range_m, power = _disturb(found, range_m, power, noise, sensor, rng)
    pixel = tiles.pixels.reshape(-1)[found.ray]
    kept = range_m > 0
    maps = []
    for values in (range_m.astype(np.float32), power.astype(np.float32), found.label, found.instance):
        maps.append(np.zeros(sensor.rows * sensor.columns, values.dtype))
        maps[-1][pixel[kept]] = values[kept]
    range_map, intensity, labels, instance = (one.reshape(sensor.shape) for one in maps)
    time_us = np.rint((np.arange(sensor.columns) + 0.5) / sensor.columns * duration_s * 1e6).astype(np.int32)
    return Sweep(
        range_m=range_map,
        intensity=intensity,
        labels=labels,
        instance=instance,
        time_us=np.broadcast_to(time_us, sensor.shape),
        ring=np.broadcast_to(np.arange(sensor.rows, dtype=np.uint16)[:, None], sensor.shape),
    )


def _disturb(
    found: Surface, range_m: np.ndarray, power: np.ndarray, noise: Noise, sensor: Sensor, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Jitter ranges, let pulses sink into foliage, lose weak ones and some in glass; lost ones get range 0."""
    count = len(range_m)
    chance, normal = rng.random((3, count), np.float32), rng.standard_normal(count, np.float32)
    depth = np.minimum(DEPTH_M[found.material] * -np.log(np.maximum(chance[0], 1e-6)), 2.0)
    range_m = range_m + depth.astype(np.float32) + np.float32(noise.range_m) * normal * (1 + range_m / 100)
    received = power * (10.0 / np.maximum(range_m, 2.0)) ** 2
    keep = received / (received + noise.weakest)
    keep *= (1 - noise.drop) * (1 - GLASS[found.material])
    lost = (chance[1] > keep) | (range_m > sensor.max_range_m)
    speckle = np.clip(power * (0.85 + 0.3 * chance[2]), 0.004, 1.0)
    return np.where(lost, np.float32(0), range_m), speckle


@lru_cache(maxsize=4)
def _layout(sensor: Sensor) -> np.ndarray:
    """Return (T, K) pixels, patches of equal azimuth: rows are shifted by their azimuth offset before cutting."""
    grid = patches(*sensor.shape, *_PATCH)
    row, column = np.divmod(grid, sensor.columns)
    way = 1 if sensor.clockwise else -1
    shift = np.rint(way * sensor.row_azimuth_offsets_rad * sensor.columns / sensor.field_of_view_rad).astype(np.int64)
    return row * sensor.columns + (column + shift[row]) % sensor.columns


@lru_cache(maxsize=4)
def _beam_directions(sensor: Sensor) -> np.ndarray:
    """Return (T, 3, K) unit vectors in the sensor frame, through the pixel centers."""
    return ray_directions(sensor).reshape(-1, 3)[_layout(sensor)].transpose(0, 2, 1)


def _sweep_rays(sensor: Sensor, world_SE3_lidar: np.ndarray, duration_s: float) -> RayTiles:
    pixels = _layout(sensor)
    fraction = (np.arange(sensor.columns) + 0.5) / sensor.columns
    start, end = world_SE3_lidar
    anchor = 0.5 * (start[:3, 3] + end[:3, 3])
    position = (start[:3, 3] - anchor) + fraction[:, None] * (end[:3, 3] - start[:3, 3])
    rotation = interpolate_rotation(start[:3, :3], end[:3, :3], fraction)
    column = pixels % sensor.columns
    direction = np.einsum(
        "tkij,tjk->tik", rotation.astype(np.float32)[column], _beam_directions(sensor).astype(np.float32)
    )
    rays = np.stack((position.astype(np.float32)[column].transpose(0, 2, 1), direction), 2)
    delay = ((fraction - 0.5) * duration_s).astype(np.float32)[column]
    return RayTiles(np.ascontiguousarray(rays), delay, anchor, pixels)


def interpolate_rotation(start: np.ndarray, end: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """Return (N, 3, 3) rotations at ``fraction`` (N,) of the shortest arc from ``start`` to ``end`` (3, 3)."""
    turn = start.T @ end
    axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    size = np.linalg.norm(axis)
    if size < 1e-12:
        return np.broadcast_to(start, (len(fraction), 3, 3))
    angle = np.arctan2(size / 2, (np.trace(turn) - 1) / 2)
    x, y, z = axis / size
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    part = (fraction * angle)[:, None, None]
    return start @ (np.eye(3) + np.sin(part) * cross + (1 - np.cos(part)) * (cross @ cross))
