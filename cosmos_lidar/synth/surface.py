"""What a ray finds where it hits: normal, material, class and color, with windows, lane markings and paving."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosmos_lidar.synth.labels import Material
from cosmos_lidar.synth.lanes import EDGE_M, JUNCTION_M
from cosmos_lidar.synth.primitives import Primitives, Shape, normals
from cosmos_lidar.synth.rays import GROUND, NOTHING, Hits, RayTiles
from cosmos_lidar.synth.terrain import Terrain

STOREY_M, WINDOW_PITCH_M = 3.0, 2.6
_LABEL_OF_GROUND = {
    Material.ROAD: 40, Material.MARKING: 60, Material.SIDEWALK: 48, Material.GRASS: 72, Material.KERB: 48,
}  # fmt: skip
_COLOR_OF_GROUND = {
    Material.ROAD: (0.20, 0.20, 0.21),
    Material.MARKING: (0.86, 0.86, 0.84),
    Material.SIDEWALK: (0.47, 0.45, 0.43),
    Material.GRASS: (0.21, 0.31, 0.12),
    Material.KERB: (0.56, 0.55, 0.53),
}


@dataclass(frozen=True)
class Surface:
    """M hits.

    Attributes:
        ray: (M,) flat number of the ray among the (T, K) of its tiles.
        distance_m: (M,) float32.
        point: (3, M) float32, world axes, relative to the tiles' anchor.
        normal: (3, M) float32 unit, world axes, outward.
        cosine: (M,) float32 cosine of the angle of incidence.
        material: (M,) uint8.
        label: (M,) uint16.
        instance: (M,) uint32, 0 for what is no road user.
        color: (M, 3) float32, before light.
    """

    ray: np.ndarray
    distance_m: np.ndarray
    point: np.ndarray
    normal: np.ndarray
    cosine: np.ndarray
    material: np.ndarray
    label: np.ndarray
    instance: np.ndarray
    color: np.ndarray


def look_up(tiles: RayTiles, hits: Hits, bodies: Primitives, terrain: Terrain | None) -> Surface:
    """Return the surface at every hit of ``hits``."""
    body = hits.body.reshape(-1)
    ray = np.flatnonzero(body != NOTHING)
    distance = hits.distance_m.reshape(-1)[ray]
    tile, k = np.divmod(ray, tiles.rays.shape[3])
    direction = tiles.rays[tile, :, 1, k].T
    point = tiles.rays[tile, :, 0, k].T + distance * direction
    delay = None if tiles.delay_s is None else tiles.delay_s.reshape(-1)[ray]
    on_body = body[ray] != GROUND
    count = len(ray)
    normal, color = np.zeros((3, count), np.float32), np.zeros((count, 3), np.float32)
    material, label = np.zeros(count, np.uint8), np.zeros(count, np.uint16)
    instance = np.zeros(count, np.uint32)
    bodily = np.flatnonzero(on_body)
    late = None if delay is None else delay[bodily]
    normal[:, bodily], material[bodily], label[bodily], color[bodily] = _of_bodies(
        point[:, bodily], bodies, body[ray[bodily]], tiles.anchor, late
    )
    instance[bodily] = bodies.instance[body[ray[bodily]]]
    ground = np.flatnonzero(~on_body)
    if terrain is not None and len(ground):
        normal[:, ground], material[ground], label[ground], color[ground] = _of_ground(
            point[:, ground], terrain, tiles.anchor
        )
    cosine = np.abs((normal * direction).sum(0))
    return Surface(ray, distance, point, normal, cosine, material, label, instance, color)


def _of_bodies(
    point: np.ndarray, bodies: Primitives, body: np.ndarray, anchor: np.ndarray, delay_s: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    turn, half = bodies.rotation.astype(np.float32)[body], bodies.half.astype(np.float32)[body]
    offset = point - (bodies.center - anchor).astype(np.float32)[body].T
    if delay_s is not None:
        offset -= bodies.velocity.astype(np.float32)[body].T * delay_s
    local = np.einsum("mij,im->jm", turn, offset)
    inside = normals(bodies.shape[body], local, half, bodies.taper.astype(np.float32)[body])
    material, color = bodies.material[body], bodies.color[body]
    _add_windows(local, inside, half, bodies.shape[body], material, color)
    return np.einsum("mij,jm->im", turn, inside), material, bodies.label[body], color


def _add_windows(
    local: np.ndarray, normal: np.ndarray, half: np.ndarray, shape: np.ndarray, material: np.ndarray, color: np.ndarray
) -> None:
    """Put panes into walls, and painted roofs onto glass cabins; changes ``material`` and ``color``."""
    wall = np.flatnonzero((material == Material.FACADE) & (np.abs(normal[2]) < 0.5) & (shape == Shape.BLOCK))
    across = np.where(np.abs(normal[0, wall]) > np.abs(normal[1, wall]), 1, 0)
    along, size = local[across, wall], half[wall, across]
    columns = np.floor(2 * size / WINDOW_PITCH_M)
    u = (along + size) / (2 * size) * columns % 1.0
    v = (local[2, wall] + half[wall, 2]) / STOREY_M % 1.0
    whole = (local[2, wall] + half[wall, 2]) // STOREY_M < np.floor(2 * half[wall, 2] / STOREY_M)
    pane = whole & (u > 0.27) & (u < 0.73) & (v > 0.32) & (v < 0.82) & (columns > 0)
    frame = whole & (u > 0.22) & (u < 0.78) & (v > 0.27) & (v < 0.85) & ~pane & (columns > 0)
    material[wall[pane]] = Material.GLASS
    color[wall[pane]] = (0.13, 0.17, 0.22)
    color[wall[frame]] = (0.82, 0.80, 0.77)
    roof = (material == Material.GLASS) & (normal[2] > 0.8)
    material[roof] = Material.PAINT
    cabin = (material == Material.GLASS) & ~roof
    cabin[wall[pane]] = False
    color[cabin] = (0.09, 0.11, 0.14)


def _of_ground(
    point: np.ndarray, terrain: Terrain, anchor: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    near = terrain.relative_to(anchor)
    x, y = point[0], point[1]
    gx, gy = near.gradient(x, y)
    normal = np.stack((-gx, -gy, np.ones_like(gx))) / np.sqrt(1 + gx * gx + gy * gy)
    beyond, lateral = near.beyond_kerb(x, y), near.lateral(x, y)
    material = np.full(len(x), Material.GRASS, np.uint8)
    material[beyond < near.sidewalk_m] = Material.SIDEWALK
    material[beyond < 0.16] = Material.KERB
    on_road = beyond <= 1e-4
    material[on_road] = Material.ROAD
    if near.kerb_m:
        face = (beyond < 0.02) & (np.abs(point[2] - near.base(x, y) - near.kerb_m / 2) < near.kerb_m / 2 - 0.004)
        material[face] = Material.KERB
        _face_the_road(normal, near, x, y, face)
    material[on_road & (material == Material.ROAD) & _marked(near, x, lateral, x + anchor[0])] = Material.MARKING
    labels, colors = np.zeros(256, np.uint16), np.zeros((256, 3), np.float32)
    for kind, label in _LABEL_OF_GROUND.items():
        labels[kind], colors[kind] = label, _COLOR_OF_GROUND[kind]
    color = colors[material] * _patchiness(x + anchor[0], y + anchor[1], material)[:, None]
    return normal.astype(np.float32), material, labels[material], color


def _face_the_road(normal: np.ndarray, near: Terrain, x: np.ndarray, y: np.ndarray, face: np.ndarray) -> None:
    step = np.float32(0.05)
    x, y = x[face], y[face]
    gx = near.beyond_kerb(x + step, y) - near.beyond_kerb(x - step, y)
    gy = near.beyond_kerb(x, y + step) - near.beyond_kerb(x, y - step)
    size = np.maximum(np.hypot(gx, gy), 1e-9)
    normal[:, face] = np.stack((-gx / size, -gy / size, np.zeros_like(gx)))


def _marked(near: Terrain, x: np.ndarray, lateral: np.ndarray, world_x: np.ndarray) -> np.ndarray:
    """Dashed center line, solid lines along the parking strips, zebra crossings beside the side roads."""
    off = np.abs(lateral)
    junction = np.zeros(len(x), bool)
    zebra = np.zeros(len(x), bool)
    for crossing in near.crossings_m:
        away = np.abs(x - crossing) - near.crossing_half_width_m
        junction |= away < JUNCTION_M
        zebra |= (away > 1.0) & (away < 4.0) & (off < near.road_half_width_m - 0.4) & (lateral % 1.0 < 0.5)
    dashes = (off < 0.07) & (world_x % 9.0 < 4.0)
    edge = np.abs(off - EDGE_M) < 0.06
    return (dashes | edge) & ~junction | zebra


def _patchiness(x: np.ndarray, y: np.ndarray, material: np.ndarray) -> np.ndarray:
    """Brightness of asphalt, paving slabs and grass at world positions: a few incommensurate sines and joints."""
    broad = 0.06 * np.sin(0.37 * x + 1.3 * np.sin(0.21 * y)) * np.sin(0.29 * y + 0.8)
    fine = 0.05 * np.sin(3.1 * x + 2.0 * np.sin(2.3 * y)) * np.sin(2.7 * y)
    strong = np.where(material == Material.GRASS, 2.2, 1.0)
    joints = (material == Material.SIDEWALK) & ((x % 0.8 < 0.03) | (y % 0.8 < 0.03))
    return (1.0 + strong * (broad + fine)) * np.where(joints, 0.8, 1.0)
