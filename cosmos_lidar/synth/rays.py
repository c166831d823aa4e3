"""Casting many rays into a scene: rays in tiles, bodies culled per tile, then exact intersections in float32.

A tile is a small patch of neighboring pixels. For every tile and body a conservative test (the tile's axis against the
body's bounding box, grown by what the rays of the tile spread) decides whether the exact test is worth making.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosmos_lidar.synth.primitives import Primitives, Shape, intersect
from cosmos_lidar.synth.terrain import Terrain

NOTHING, GROUND = -1, -2
_PAIRS_AT_ONCE = 256
_BODIES_AT_ONCE = 64


@dataclass(frozen=True)
class RayTiles:
    """T tiles of K rays.

    Attributes:
        rays: (T, 3, 2, K) float32, starts relative to ``anchor`` and unit directions, world axes.
        delay_s: (T, K) float32, when each ray flies, relative to the moment of the scene's bodies; None = all at once.
        anchor: (3,) float64, world.
        pixels: (T, K) int64, flat pixel of each ray; pixels may occur twice where a patch sticks out of the image.
    """

    rays: np.ndarray
    delay_s: np.ndarray | None
    anchor: np.ndarray
    pixels: np.ndarray


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


def cast(tiles: RayTiles, bodies: Primitives, terrain: Terrain | None, max_range_m: float) -> Hits:
    """Return the nearest hit of every ray within ``max_range_m``; ``terrain`` None leaves out the ground."""
    shape = tiles.rays.shape[0], tiles.rays.shape[3]
    best: np.ndarray = np.full(shape, np.inf, np.float32)
    if terrain is not None:
        flat = tiles.rays.transpose(2, 1, 0, 3).reshape(2, 3, -1)
        local = terrain.relative_to(tiles.anchor)
        best = local.intersect(flat[0], flat[1], max_range_m).astype(np.float32).reshape(shape)
    body = np.where(np.isfinite(best), np.int32(GROUND), np.int32(NOTHING))
    near = np.linalg.norm(bodies.center - tiles.anchor, axis=1) - np.linalg.norm(bodies.bounding_half(), axis=1)
    numbers = np.flatnonzero(near < max_range_m + 5.0)
    chosen = bodies.select(numbers)
    tile, pick = _candidates(tiles, chosen, max_range_m)
    leaning = chosen.taper.any(1)  # apart: straight blocks are twice as fast without them
    for kind, lean in ((Shape.BLOCK, False), (Shape.BLOCK, True), (Shape.ELLIPSOID, False), (Shape.CYLINDER, False)):
        of_kind = ((chosen.shape == kind) & (leaning == lean))[pick]
        _meet_bodies(tiles, chosen, int(kind), tile[of_kind], pick[of_kind], numbers, best, body)
    too_far = best > max_range_m
    best[too_far], body[too_far] = np.inf, NOTHING
    return Hits(best, body)


def _candidates(tiles: RayTiles, bodies: Primitives, max_range_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the (tile, body) pairs worth testing, sorted by tile."""
    start, direction = tiles.rays[:, :, 0], tiles.rays[:, :, 1]
    middle = start.mean(2)
    spread = np.sqrt(((start - middle[:, :, None]) ** 2).sum(1)).max(1)
    axis = direction.mean(2)
    axis /= np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-9)
    cosine = np.clip(np.einsum("tik,ti->tk", direction, axis).min(1), -1, 1)
    sine = np.where(cosine > 0.1, np.sqrt(1.0 - cosine**2), np.inf).astype(np.float32)
    late = 0.0 if tiles.delay_s is None else float(np.abs(tiles.delay_s).max())
    found = []
    for first in range(0, len(bodies), _BODIES_AT_ONCE):
        part = bodies.select(slice(first, first + _BODIES_AT_ONCE))
        mask = _tile_sees_body(tiles.anchor, middle, axis, spread, sine, part, late)
        body, tile = np.nonzero(mask)
        found.append((tile, body + first))
    tile = np.concatenate([f[0] for f in found]) if found else np.zeros(0, int)
    body = np.concatenate([f[1] for f in found]) if found else np.zeros(0, int)
    order = np.argsort(tile, kind="stable")
    return tile[order], body[order]


def _tile_sees_body(
    anchor: np.ndarray,
    middle: np.ndarray,
    axis: np.ndarray,
    spread: np.ndarray,
    sine: np.ndarray,
    bodies: Primitives,
    late_s: float,
) -> np.ndarray:
    """Return (P, T): False only where no ray of the tile can meet the body."""
    turn = bodies.rotation.astype(np.float32)
    center = (bodies.center - anchor).astype(np.float32)
    o = np.einsum("pij,tpi->jpt", turn, middle[:, None] - center, optimize=True)
    d = np.einsum("pij,ti->jpt", turn, axis, optimize=True)
    half = bodies.bounding_half().astype(np.float32)
    half = half + np.linalg.norm(bodies.velocity, axis=1)[:, None].astype(np.float32) * np.float32(late_s)
    far = np.sqrt((o * o).sum(0)) + np.linalg.norm(half, axis=1)[:, None]
    grown = far * sine + spread
    enter, leave = np.float32(0.0), np.float32(np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        for i in range(3):
            size = half[:, i : i + 1] + grown
            inverse = 1.0 / d[i]
            a, b = (-size - o[i]) * inverse, (size - o[i]) * inverse
            enter, leave = np.fmax(enter, np.minimum(a, b)), np.fmin(leave, np.maximum(a, b))
    return (enter <= leave) | np.isinf(grown)


def _meet_bodies(
    tiles: RayTiles,
    bodies: Primitives,
    kind: int,
    tile: np.ndarray,
    pick: np.ndarray,
    numbers: np.ndarray,
    best: np.ndarray,
    body: np.ndarray,
) -> None:
    """Intersect the given pairs exactly and keep what is nearer than ``best``; updates ``best`` and ``body``."""
    turn = np.ascontiguousarray(bodies.rotation.transpose(0, 2, 1)).astype(np.float32)
    center = np.einsum("pij,pj->pi", turn, (bodies.center - tiles.anchor).astype(np.float32))
    velocity = np.einsum("pij,pj->pi", turn, bodies.velocity.astype(np.float32))
    moves = np.any(bodies.velocity != 0, axis=1)
    half, taper = bodies.half.astype(np.float32), bodies.taper.astype(np.float32)
    rays = tiles.rays.reshape(len(tiles.rays), 3, -1)
    width = tiles.rays.shape[3]
    for first in range(0, len(tile), _PAIRS_AT_ONCE):
        t, p = tile[first : first + _PAIRS_AT_ONCE], pick[first : first + _PAIRS_AT_ONCE]
        local = (turn[p] @ rays[t]).reshape(len(p), 3, 2, width).transpose(2, 1, 0, 3)
        o = local[0] - center[p].T[:, :, None]
        if tiles.delay_s is not None and moves[p].any():
            o -= velocity[p].T[:, :, None] * tiles.delay_s[t]
        distance = intersect(kind, o, local[1], half[p], taper[p])
        _keep_nearest(distance, t, numbers[p].astype(np.int32), best, body)


def _keep_nearest(
    distance: np.ndarray, tile: np.ndarray, number: np.ndarray, best: np.ndarray, body: np.ndarray
) -> None:
    starts = np.flatnonzero(np.r_[True, tile[1:] != tile[:-1]])
    owners = tile[starts]
    nearest = np.minimum.reduceat(distance, starts, axis=0)
    counts = np.diff(np.r_[starts, len(tile)])
    is_nearest = distance == np.repeat(nearest, counts, axis=0)
    who = np.maximum.reduceat(np.where(is_nearest, number[:, None], np.int32(-1)), starts, axis=0)
    nearer = nearest < best[owners]
    best[owners] = np.where(nearer, nearest, best[owners])
    body[owners] = np.where(nearer, who, body[owners])
