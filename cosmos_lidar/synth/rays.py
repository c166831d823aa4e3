"""Casting many rays into a scene: rays in tiles, bodies culled per tile and block, then exact intersections in float32.

A tile is a small patch of neighboring pixels, a block a part of it. Conservative tests (:mod:`.culling`)
find the bodies that the rays of a tile, then of a block, can meet; exact tests are made from near to far, and bodies
behind what all rays of a block have met are left out. What a ray meets depends on neither tiles nor order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosmos_lidar.synth.culling import Boxes, Cones, candidates, nearest_possible
from cosmos_lidar.synth.primitives import Primitives, Shape, intersect
from cosmos_lidar.synth.terrain import Terrain

NOTHING, GROUND = -1, -2
_RAYS_AT_ONCE = 1 << 14  # what fits into a cache
_ROUNDS = (4, 12, 36)  # bodies of a block that are met before those behind are looked at again


@dataclass(frozen=True)
class RayTiles:
    """T tiles of K rays.

    Attributes:
        rays: (T, 3, 2, K) float32, starts relative to ``anchor`` and unit directions, world axes.
        delay_s: (T, K) float32, when each ray flies, relative to the moment of the scene's bodies; None = all at once.
        anchor: (3,) float64, world.
        pixels: (T, K) int64, flat pixel of each ray; pixels may occur twice where a patch sticks out of the image.
        blocks: (S, K / S) int64, places in a tile of the rays of each block; None for one block.
    """

    rays: np.ndarray
    delay_s: np.ndarray | None
    anchor: np.ndarray
    pixels: np.ndarray
    blocks: np.ndarray | None = None


@dataclass(frozen=True)
class Hits:
    """What each ray met first.

    Attributes:
        distance_m: (T, K) float32, inf for nothing.
        body: (T, K) int32 body number, ``GROUND`` or ``NOTHING``.
    """

    distance_m: np.ndarray
    body: np.ndarray


def patches(rows: int, columns: int, patch_rows: int, patch_columns: int) -> np.ndarray:
    """Return (T, K) flat pixel numbers of the patches that cover a (rows, columns) image, edges repeated."""
    r = np.minimum(np.arange(-(-rows // patch_rows) * patch_rows), rows - 1).reshape(-1, 1, patch_rows, 1)
    c = np.minimum(np.arange(-(-columns // patch_columns) * patch_columns), columns - 1).reshape(
        1, -1, 1, patch_columns
    )
    return (r * columns + c).reshape(-1, patch_rows * patch_columns)


def cast(
    tiles: RayTiles,
    bodies: Primitives,
    terrain: Terrain | None,
    max_range_m: float,
    needed: np.ndarray | None = None,
) -> Hits:
    """Return the nearest hit of every ray within ``max_range_m``; ``terrain`` None leaves out the ground.

    Args:
        tiles: the rays.
        bodies: what they meet.
        terrain: the ground.
        max_range_m: where to give up.
        needed: (T, K) bool, the rays of which it is to be found out whether they meet any body: hits are then any
            body, not the nearest one, and other rays meet nothing.
    """
    shape = tiles.rays.shape[0], tiles.rays.shape[3]
    best: np.ndarray = np.full(shape, np.inf, np.float32)
    if terrain is not None:
        flat = tiles.rays.transpose(2, 1, 0, 3).reshape(2, 3, -1)
        local = terrain.relative_to(tiles.anchor)
        best = local.intersect(flat[0], flat[1], max_range_m).astype(np.float32).reshape(shape)
    body = np.where(np.isfinite(best), np.int32(GROUND), np.int32(NOTHING))
    if needed is not None:
        best[~needed] = -1.0  # nothing is nearer
    near = np.linalg.norm(bodies.center - tiles.anchor, axis=1) - np.linalg.norm(bodies.bounding_half(), axis=1)
    numbers = np.flatnonzero(near < max_range_m + 5.0)
    if len(numbers):
        meeting = _Meeting(tiles, bodies.select(numbers), numbers, best, body, max_range_m, needed is not None)
        best, body = meeting.result()
    too_far = (best > max_range_m) | (best < 0)
    best[too_far], body[too_far] = np.inf, NOTHING
    return Hits(best, body)


class _Meeting:
    """Rays by blocks, and what they have met so far.

    Args:
        tiles: the rays.
        bodies: P bodies.
        numbers: (P,) their numbers.
        best: (T, K) distances so far.
        body: (T, K) what is there.
        max_range_m: where to give up.
        any_body: a ray that has met a body is done.
    """

    def __init__(
        self,
        tiles: RayTiles,
        bodies: Primitives,
        numbers: np.ndarray,
        best: np.ndarray,
        body: np.ndarray,
        max_range_m: float,
        any_body: bool,
    ) -> None:
        count, _, _, rays = tiles.rays.shape
        self.blocks = np.arange(rays)[None] if tiles.blocks is None else tiles.blocks
        parts, self.width = self.blocks.shape
        self.tiles, self.bodies, self.numbers = tiles, bodies, numbers.astype(np.int32)
        self.max_range_m, self.any_body = np.float32(max_range_m), any_body
        self.best, self.body = self._in_blocks(best), self._in_blocks(body)
        self.delay_s = None if tiles.delay_s is None else self._in_blocks(tiles.delay_s)
        self.rays = tiles.rays[..., self.blocks].transpose(0, 3, 1, 2, 4).reshape(count * parts, 3, 2 * self.width)
        self.turn = np.ascontiguousarray(bodies.rotation.transpose(0, 2, 1)).astype(np.float32)
        self.center = np.einsum("pij,pj->pi", self.turn, (bodies.center - tiles.anchor).astype(np.float32))
        self.velocity = np.einsum("pij,pj->pi", self.turn, bodies.velocity.astype(np.float32))
        self.moves = np.any(bodies.velocity != 0, axis=1)
        self.half, self.taper = bodies.half.astype(np.float32), bodies.taper.astype(np.float32)

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (T, K) distances and numbers of what is met."""
        block, pick, near = self._pairs()
        rank = np.arange(len(block)) - np.searchsorted(block, block)
        lower = 0
        for upper in (*_ROUNDS, len(block)):
            chosen = np.flatnonzero((rank >= lower) & (rank < upper))
            chosen = chosen[near[chosen] <= self._reach()[block[chosen]]]
            self._meet(block[chosen], pick[chosen])
            lower = upper
        return self._in_tiles(self.best), self._in_tiles(self.body)

    def _pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (block, body, distance below which they do not meet), by block, from near to far."""
        late = 0.0 if self.delay_s is None else float(np.abs(self.delay_s).max())
        boxes = Boxes.of(self.bodies, self.tiles.anchor, late)
        start, direction = self.tiles.rays[:, :, 0], self.tiles.rays[:, :, 1]
        tile, pick = candidates(Cones.around(start, direction), boxes, float(self.max_range_m))
        parts = len(self.blocks)
        block = (tile[:, None] * parts + np.arange(parts)).reshape(-1)
        pick = np.repeat(pick, parts)
        awaited = self._reach() > 0
        block, pick = block[awaited[block]], pick[awaited[block]]
        cones = Cones.around(self.rays[:, :, : self.width], self.rays[:, :, self.width :])
        near = nearest_possible(cones, boxes, block, pick)
        kept = near <= self._reach()[block]
        block, pick, near = block[kept], pick[kept], near[kept]
        order = np.lexsort((near, block))
        return block[order], pick[order], near[order]

    def _reach(self) -> np.ndarray:
        """Return (blocks,) distances up to which a body may be the first that a ray of the block meets."""
        if self.any_body:
            return np.where(np.isinf(self.best).any(1), self.max_range_m, np.float32(-1.0))
        return np.minimum(self.best.max(1), self.max_range_m)

    def _meet(self, block: np.ndarray, pick: np.ndarray) -> None:
        """Intersect pairs, sorted by block, exactly, and keep what is nearer."""
        leaning = self.bodies.taper.any(1)  # apart: straight blocks are twice as fast without them
        at_once = max(_RAYS_AT_ONCE // self.width, 1)
        for kind, lean in (
            (Shape.BLOCK, False),
            (Shape.BLOCK, True),
            (Shape.ELLIPSOID, False),
            (Shape.CYLINDER, False),
        ):
            of_kind = np.flatnonzero(((self.bodies.shape == kind) & (leaning == lean))[pick])
            for first in range(0, len(of_kind), at_once):
                some = of_kind[first : first + at_once]
                self._meet_some(int(kind), block[some], pick[some])

    def _meet_some(self, kind: int, block: np.ndarray, pick: np.ndarray) -> None:
        local = (self.turn[pick] @ self.rays[block]).reshape(len(pick), 3, 2, self.width).transpose(2, 1, 0, 3)
        start = local[0] - self.center[pick].T[:, :, None]
        if self.delay_s is not None and self.moves[pick].any():
            start -= self.velocity[pick].T[:, :, None] * self.delay_s[block]
        distance = intersect(kind, start, local[1], self.half[pick], self.taper[pick])
        if self.any_body:
            distance[distance > self.max_range_m] = np.inf
        _keep_nearest(distance, block, self.numbers[pick], self.best, self.body)

    def _in_blocks(self, values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(values[:, self.blocks].reshape(-1, self.width))

    def _in_tiles(self, values: np.ndarray) -> np.ndarray:
        out = np.empty((len(self.tiles.rays), self.blocks.size), values.dtype)
        out[:, self.blocks.reshape(-1)] = values.reshape(len(out), -1)
        return out


def _keep_nearest(
    distance: np.ndarray, tile: np.ndarray, number: np.ndarray, best: np.ndarray, body: np.ndarray
) -> None:
    """Keep what is nearer than ``best``; of bodies at one distance the one with the highest number."""
    starts = np.flatnonzero(np.r_[True, tile[1:] != tile[:-1]])
    owners = tile[starts]
    nearest = np.minimum.reduceat(distance, starts, axis=0)
    counts = np.diff(np.r_[starts, len(tile)])
    is_nearest = distance == np.repeat(nearest, counts, axis=0)
    who = np.maximum.reduceat(np.where(is_nearest, number[:, None], np.int32(-1)), starts, axis=0)
    nearer = nearest < best[owners]
    best[owners] = np.where(nearer, nearest, best[owners])
    body[owners] = np.where(nearer, who, body[owners])
