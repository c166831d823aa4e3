"""Laying out a street: which things stand where along the road, and how the moving ones move. Seeded, exact."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from cosmos_lidar.errors import UserError
from cosmos_lidar.synth import objects
from cosmos_lidar.synth.labels import MOVING, ROAD_USERS
from cosmos_lidar.synth.primitives import Primitives, concatenate
from cosmos_lidar.synth.terrain import Terrain

LANE_M = 1.75
_VIEW_M = 130.0


@dataclass(frozen=True)
class EgoPath:
    """How far the ego vehicle has come along the road: x(t), a steady speed with a slow swing, in closed form."""

    speed_mps: float
    swing_mps: float
    swing_rad_s: float
    phase_rad: float

    def x(self, time_s: float) -> float:
        """Return the world x at ``time_s``."""
        swing = self.swing_mps / self.swing_rad_s
        return self.speed_mps * time_s + swing * (
            np.cos(self.phase_rad) - np.cos(self.swing_rad_s * time_s + self.phase_rad)
        )


@dataclass(frozen=True)
class Mover:
    """A thing that follows the road at ``lateral_m``: with a speed of its own, or at a fixed gap to the ego vehicle."""

    parts: Primitives
    x_m: float
    lateral_m: float
    speed_mps: float
    with_ego: bool = False

    def x(self, time_s: float, ego: EgoPath) -> float:
        """Return the world x at ``time_s``."""
        return self.x_m + (ego.x(time_s) if self.with_ego else self.speed_mps * time_s)


@dataclass(frozen=True)
class Scene:
    """A street with everything on it.

    Attributes:
        terrain: the ground; None for bodies in empty space.
        still: bodies at rest.
        movers: moving things.
        ego: how the vehicle that carries the sensors drives.
        sun: (3,) unit vector to the sun, world.
    """

    terrain: Terrain | None
    still: Primitives
    movers: tuple[Mover, ...]
    ego: EgoPath
    sun: np.ndarray

    def at(self, time_s: float) -> Primitives:
        """Return every body at ``time_s``, with its velocity."""
        return concatenate([self.still, *(self._place(mover, time_s) for mover in self.movers)])

    def world_SE3_vehicle(self, time_s: float) -> np.ndarray:
        """Return (4, 4) the ego vehicle at ``time_s``: on the ground, right-hand lane, x forward, y left, z up."""
        return self._road.frame(self.ego.x(time_s), -LANE_M)

    @property
    def _road(self) -> Terrain:
        if self.terrain is None:
            raise UserError("a scene without terrain has no road to drive on")
        return self.terrain

    def _place(self, mover: Mover, time_s: float) -> Primitives:
        x, later = mover.x(time_s, self.ego), mover.x(time_s + 0.01, self.ego)
        pose = self._road.frame(x, mover.lateral_m, 0.0 if later >= x else np.pi)
        velocity = (self._road.frame(later, mover.lateral_m)[:3, 3] - pose[:3, 3]) / 0.01
        return mover.parts.placed(pose, velocity)


def build_scene(seed: int, duration_s: float) -> Scene:
    """Return the street number ``seed``, long enough for ``duration_s`` of driving."""
    rng = np.random.default_rng([seed, 0x5CE7E])
    ego = EgoPath(rng.uniform(8.0, 11.5), rng.uniform(0.5, 3.0), rng.uniform(0.25, 0.6), rng.uniform(0, 2 * np.pi))
    first, last = -_VIEW_M, ego.x(duration_s) + _VIEW_M
    terrain = _make_terrain(rng, first, last)
    still = [part for side in (-1, 1) for part in _roadside(rng, terrain, side, first, last)]
    azimuth, height = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(30, 60))
    sun = np.array([np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height)])
    movers = _traffic(rng, ego, duration_s, first, last) + _people(rng, first, last)
    still, movers = _number(still, movers)
    return Scene(terrain, concatenate(still), tuple(movers), ego, sun)


def _number(still: list[Primitives], movers: list[Mover]) -> tuple[list[Primitives], list[Mover]]:
    """Number the road users from 1 on, parked ones first: the same thing has one number in all sweeps of all lidars."""
    numbers = count(1)
    parked = [part.numbered(next(numbers)) if part.label[0] in ROAD_USERS else part for part in still]
    return parked, [replace(mover, parts=mover.parts.numbered(next(numbers))) for mover in movers]


def _make_terrain(rng: np.random.Generator, first: float, last: float) -> Terrain:
    lengths = np.array([190.0, 120.0, 70.0]) * rng.uniform(0.8, 1.3, 3)
    slopes = rng.uniform([0.008, 0.006, 0.004], [0.028, 0.018, 0.010])
    turn = rng.uniform(0, 2 * np.pi, 3)
    k = 2 * np.pi / lengths
    waves = np.stack((slopes / k, k * np.cos(turn), k * np.sin(turn), rng.uniform(0, 2 * np.pi, 3)), 1)
    bend_k = 2 * np.pi / (np.array([420.0, 190.0]) * rng.uniform(0.8, 1.3, 2))
    bend_slope = rng.uniform([0.05, 0.02], [0.22, 0.08])
    bends = np.stack((bend_slope / bend_k, bend_k, rng.uniform(0, 2 * np.pi, 2)), 1)
    crossings, x = [], first + rng.uniform(20, 90)
    while x < last:
        crossings.append(float(x))
        x += rng.uniform(65, 130)
    return Terrain(0.0, tuple(rng.uniform(-0.015, 0.015, 2)), waves, bends, 0.0, tuple(crossings))


def _upright(terrain: Terrain, x: float, lateral: float, yaw: float = 0.0) -> np.ndarray:
    pose = terrain.frame(x, lateral)
    heading = np.arctan2(pose[1, 0], pose[0, 0]) + yaw
    pose[:3, :3] = [[np.cos(heading), -np.sin(heading), 0], [np.sin(heading), np.cos(heading), 0], [0, 0, 1]]
    return pose


def _clear_of_crossings(terrain: Terrain, x: float, margin: float) -> bool:
    return all(abs(x - c) > terrain.crossing_half_width_m + margin for c in terrain.crossings_m)


def _roadside(rng: np.random.Generator, terrain: Terrain, side: int, first: float, last: float) -> list[Primitives]:
    parts = _houses(rng, terrain, side, first, last) + _second_row(rng, terrain, side, first, last)
    for x in np.arange(first, last, 27.0):
        spot = x + rng.uniform(-2, 2)
        if _clear_of_crossings(terrain, spot, 1.0):
            yaw = -side * np.pi / 2
            parts.append(objects.lamp(rng).placed(_upright(terrain, spot, side * 6.35, yaw)))
    for crossing in terrain.crossings_m:
        for way in (-1, 1):
            post = _upright(terrain, crossing + way * 5.2, side * 6.5, 0.0 if side < 0 else np.pi)
            parts.append(objects.sign(rng).placed(post))
    parts += _parked(rng, terrain, side, first, last)
    parts += _parked_in_side_roads(rng, terrain, side)
    return parts


def _houses(rng: np.random.Generator, terrain: Terrain, side: int, first: float, last: float) -> list[Primitives]:
    """Houses wall to wall or apart, with front gardens, hedges, fences and street trees; sometimes a green instead."""
    parts, x, setback, trees = [], first, 0.0, True
    while x < last:
        if rng.random() < 0.35:
            setback, trees = float(rng.choice([0.0, 0.0, 2.5, 4.5])), rng.random() < 0.65
        width, depth = rng.uniform(9, 19), rng.uniform(9, 13)
        middle = x + width / 2
        if _clear_of_crossings(terrain, middle, width / 2 + 2.8):
            front = terrain.road_half_width_m + terrain.sidewalk_m + 0.1
            if rng.random() < 0.86:
                lateral = side * (front + setback + depth / 2)
                parts.append(objects.building(rng, width, depth).placed(_upright(terrain, middle, lateral)))
                if setback > 2:
                    border = objects.hedge if rng.random() < 0.5 else objects.fence
                    parts.append(border(rng, width - 0.6).placed(_upright(terrain, middle, side * (front + 0.4))))
            else:
                parts += _green(rng, terrain, middle, side, front)
            if trees:
                parts.append(objects.tree(rng).placed(_upright(terrain, x + 1.0, side * 6.9, rng.uniform(0, 6))))
        x += width + (rng.uniform(1.5, 5) if rng.random() < 0.4 else 0.02)
    return parts


def _green(rng: np.random.Generator, terrain: Terrain, x: float, side: int, front: float) -> list[Primitives]:
    spots = [(x + rng.uniform(-7, 7), side * (front + rng.uniform(2, 16))) for _ in range(4)]
    trees = [objects.tree(rng).placed(_upright(terrain, *spot, rng.uniform(0, 6))) for spot in spots]
    return trees + [objects.hedge(rng, 12.0).placed(_upright(terrain, x, side * (front + 0.5)))]


def _second_row(rng: np.random.Generator, terrain: Terrain, side: int, first: float, last: float) -> list[Primitives]:
    """Houses and trees behind the first row, seen through gaps and along the side roads."""
    parts = []
    for row in (33.0, 56.0, 80.0):
        x = first + rng.uniform(0, 15)
        while x < last:
            width = rng.uniform(10, 20)
            if _clear_of_crossings(terrain, x + width / 2, width / 2 + 2.5):
                if rng.random() < 0.62:
                    house = objects.building(rng, width, rng.uniform(9, 13))
                    parts.append(house.placed(_upright(terrain, x + width / 2, side * (row + rng.uniform(-2, 2)))))
                else:
                    parts.append(
                        objects.tree(rng).placed(_upright(terrain, x + width / 2, side * row, rng.uniform(0, 6)))
                    )
            x += width + rng.uniform(0.5, 8)
    return parts


def _parked(rng: np.random.Generator, terrain: Terrain, side: int, first: float, last: float) -> list[Primitives]:
    parts, x = [], first
    while x < last:
        if rng.random() < 0.5 and _clear_of_crossings(terrain, x, 7.0):
            pose = terrain.frame(
                x, side * (4.65 + rng.uniform(-0.1, 0.12)), rng.normal(0, 0.015) + (0 if side < 0 else np.pi)
            )
            parts.append(objects.car(rng).placed(pose))
        x += rng.uniform(5.4, 7.0)
    return parts


def _parked_in_side_roads(rng: np.random.Generator, terrain: Terrain, side: int) -> list[Primitives]:
    parts = []
    for crossing in terrain.crossings_m:
        for edge in (-1, 1):
            for out in np.arange(14.0, 60.0, 6.5):
                if rng.random() < 0.3:
                    x = crossing + edge * (terrain.crossing_half_width_m - 1.0)
                    lateral = side * (out + rng.uniform(-0.5, 0.5))
                    pose = terrain.frame(x, lateral)
                    yaw = np.pi / 2 - np.arctan2(pose[1, 0], pose[0, 0])
                    parts.append(objects.car(rng).placed(terrain.frame(x, lateral, yaw)))
    return parts


def _traffic(rng: np.random.Generator, ego: EgoPath, duration_s: float, first: float, last: float) -> list[Mover]:
    movers = [Mover(objects.car(rng, MOVING[10]), rng.uniform(14, 40), -LANE_M, 0.0, True)]
    if rng.random() < 0.6:
        movers.append(Mover(objects.car(rng, MOVING[10]), -rng.uniform(11, 30), -LANE_M, 0.0, True))
    if rng.random() < 0.5:
        movers.append(Mover(objects.truck(rng, MOVING[18]), rng.uniform(55, 90), -LANE_M, 0.0, True))
    speed, x = -rng.uniform(8, 12), first
    while x < last - speed * duration_s:
        is_truck = rng.random() < 0.12
        thing = objects.truck(rng, MOVING[18]) if is_truck else objects.car(rng, MOVING[10])
        movers.append(Mover(thing, x, LANE_M, speed))
        x += rng.uniform(16, 60)
    for lateral, pace in ((3.25, -1.0), (-3.3, 1.0)):
        for x in np.arange(first, last, 70.0):
            if rng.random() < 0.6:
                rider = objects.cyclist(rng, MOVING[31])
                movers.append(Mover(rider, x + rng.uniform(0, 45), lateral, pace * rng.uniform(4.0, 4.6)))
    return movers


def _people(rng: np.random.Generator, first: float, last: float) -> list[Mover]:
    people = int((last - first) / 9)
    return [
        Mover(
            objects.pedestrian(rng, MOVING[30]), rng.uniform(first, last),
            float(rng.choice([-1, 1]) * rng.uniform(7.5, 8.1)), float(rng.choice([-1, 1]) * rng.uniform(0.9, 1.6)),
        )
        for _ in range(people)
    ]  # fmt: skip
