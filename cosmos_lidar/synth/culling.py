"""Conservative culling: which bodies the rays of a bundle can meet at all, and from which distance on.

A bundle of rays is bounded by a cone: a start, an axis, and how far the rays stray from it. The axis is tested against
the body's bounding box, grown by how far the rays stray at the farthest point of the body. Groups of neighboring
bundles are tested against bounding spheres first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosmos_lidar.synth.primitives import Primitives

_GROUP = 8  # neighboring bundles
_PAIRS_AT_ONCE = 1 << 12  # what fits into a cache
_SLACK_M = 0.01  # of rounding, in float32 at 250 m
_ROOT_3 = np.float32(np.sqrt(3.0))


@dataclass(frozen=True)
class Cones:
    """N bundles of rays.

    Attributes:
        middle: (N, 3) float32 mean start.
        axis: (N, 3) float32 unit mean direction.
        spread: (N,) float32, the farthest start from ``middle``.
        sine: (N,) float32 of the largest angle to the axis; inf where that is nearly a right angle or more.
    """

    middle: np.ndarray
    axis: np.ndarray
    spread: np.ndarray
    sine: np.ndarray

    @classmethod
    def around(cls, start: np.ndarray, direction: np.ndarray) -> Cones:
        """Return the cones of bundles: ``start`` and ``direction`` are (N, 3, K)."""
        middle = start.mean(2)
        spread = np.sqrt(((start - middle[:, :, None]) ** 2).sum(1)).max(1)
        axis = direction.mean(2)
        axis /= np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-9)
        cosine = np.clip(np.einsum("tik,ti->tk", direction, axis).min(1), -1, 1)
        sine = np.where(cosine > 0.1, np.sqrt(1.0 - cosine**2), np.inf).astype(np.float32)
        return cls(middle, axis, spread, sine)

    def __len__(self) -> int:
        return len(self.middle)


@dataclass(frozen=True)
class Boxes:
    """Bounding boxes of P bodies, relative to an anchor.

    Attributes:
        center: (P, 3) float32.
        turn: (P, 3, 3) float32, world_R_body.
        half: (P, 3) float32, with what the body moves while the rays fly.
        radius: (P,) float32.
    """

    center: np.ndarray
    turn: np.ndarray
    half: np.ndarray
    radius: np.ndarray

    @classmethod
    def of(cls, bodies: Primitives, anchor: np.ndarray, late_s: float) -> Boxes:
        """Return the boxes of bodies; ``late_s`` is the longest delay of a ray."""
        moved = np.linalg.norm(bodies.velocity, axis=1)[:, None].astype(np.float32) * np.float32(late_s)
        half = bodies.bounding_half().astype(np.float32) + moved
        center = (bodies.center - anchor).astype(np.float32)
        return cls(center, bodies.rotation.astype(np.float32), half, np.linalg.norm(half, axis=1))


def candidates(cones: Cones, boxes: Boxes, max_range_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (bundle, body) pairs worth testing, sorted by bundle."""
    found = []
    for bundle, body in _pairs_by_group(cones, boxes):
        near = nearest_possible(cones, boxes, bundle, body)
        kept = near <= max_range_m
        found.append((bundle[kept], body[kept]))
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate([pair[0] for pair in found]), np.concatenate([pair[1] for pair in found])


def _pairs_by_group(cones: Cones, boxes: Boxes) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (bundle, body) pairs of groups of bundles whose common cone comes near the body's bounding sphere."""
    pairs = []
    for first in range(0, len(cones), _GROUP):
        members = np.arange(first, min(first + _GROUP, len(cones)))
        body = np.flatnonzero(_group_sees(cones, members, boxes))
        pairs.append((np.repeat(members, len(body)), np.tile(body, len(members))))
    return pairs


def _group_sees(cones: Cones, members: np.ndarray, boxes: Boxes) -> np.ndarray:
    """Return (P,) False only where no cone of the group meets the grown box of the body."""
    middle = cones.middle[members].mean(0)
    axis = cones.axis[members].mean(0)
    axis /= max(float(np.linalg.norm(axis)), 1e-9)
    apart = np.sqrt(((cones.middle[members] - middle) ** 2).sum(1).max())
    chord = np.sqrt(((cones.axis[members] - axis) ** 2).sum(1).max())
    sine, spread = cones.sine[members].max(), cones.spread[members].max()
    if np.isinf(sine):
        return np.ones(len(boxes.radius), bool)
    offset = boxes.center - middle
    square = (offset * offset).sum(1)
    along = np.maximum(offset @ axis, 0.0)
    distance = np.sqrt(np.maximum(square - 2 * along * (offset @ axis) + along * along, 0.0))
    far = np.sqrt(square) + apart + boxes.radius
    grown = _ROOT_3 * (far * sine + spread)
    return distance <= boxes.radius + grown + apart + (far + grown) * chord + _SLACK_M


def nearest_possible(cones: Cones, boxes: Boxes, bundle: np.ndarray, body: np.ndarray) -> np.ndarray:
    """Return (M,) float32 distances below which no ray of a bundle meets a body; inf where none can meet it at all.

    Args:
        cones: of the bundles.
        boxes: of the bodies.
        bundle: (M,) of each pair.
        body: (M,) of each pair.
    """
    near = np.empty(len(bundle), np.float32)
    # a row for each number, and one gather for all rows: sums over a last axis of three are slow
    of_cones = np.concatenate([cones.middle.T, cones.axis.T, cones.spread[None], cones.sine[None]])
    turn = boxes.turn.transpose(2, 1, 0).reshape(9, -1)
    of_boxes = np.concatenate([boxes.center.T, turn, boxes.half.T, boxes.radius[None]])
    for first in range(0, len(bundle), _PAIRS_AT_ONCE):
        part = slice(first, first + _PAIRS_AT_ONCE)
        near[part] = _nearest(of_cones.take(bundle[part], 1), of_boxes.take(body[part], 1))
    return near


def _nearest(of_cones: np.ndarray, of_boxes: np.ndarray) -> np.ndarray:
    """Return (M,) distances, of the numbers of a cone (8, M) and of a box (16, M) of each pair."""
    axis, spread, sine = of_cones[3:6], of_cones[6], of_cones[7]
    turn, half, radius = of_boxes[3:12].reshape(3, 3, -1), of_boxes[12:15], of_boxes[15]
    offset = of_cones[:3] - of_boxes[:3]
    far = np.sqrt(_dot(offset, offset)) + radius
    grown = far * sine + spread
    enter, leave = np.zeros(len(far), np.float32), np.full(len(far), np.inf, np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        for i in range(3):
            o, inverse, size = _dot(turn[i], offset), 1.0 / _dot(turn[i], axis), half[i] + grown
            a, b = (-size - o) * inverse, (size - o) * inverse
            enter, leave = np.fmax(enter, np.minimum(a, b)), np.fmin(leave, np.maximum(a, b))
        near = np.maximum(enter * np.float32(0.9999) - spread - np.float32(_SLACK_M), 0.0)
    unbounded = np.isinf(grown)
    near[unbounded] = 0.0
    near[~unbounded & ~(enter <= leave)] = np.inf
    return near


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
