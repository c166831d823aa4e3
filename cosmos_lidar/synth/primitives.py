"""Convex bodies that scenes are made of, as arrays, and exact ray intersections with them.

Every body has its own frame: center at the origin, z up. ``half`` is its half size along each axis.
A block may taper: at the top its half size along x (y) is smaller by ``2 * half_z * taper_x`` than at the bottom, and
``half`` is the size at mid height, which makes cabins, bonnets and roofs of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum

import numpy as np


class Shape(IntEnum):
    """The bodies there are; cylinders stand on the x-y plane and have radius ``half[0]``."""

    BLOCK = 0
    ELLIPSOID = 1
    CYLINDER = 2


@dataclass(frozen=True)
class Primitives:
    """P bodies at one moment.

    Attributes:
        shape: (P,) int8, see :class:`Shape`.
        center: (P, 3) float64 meters, world.
        rotation: (P, 3, 3) float64, world_R_body.
        half: (P, 3) float64 meters.
        taper: (P, 2) float64 meters per meter, blocks only.
        material: (P,) uint8, see :class:`~cosmos_lidar.synth.labels.Material`.
        label: (P,) uint16 semantic class.
        color: (P, 3) float32 in [0, 1].
        velocity: (P, 3) float64 m/s, world.
        instance: (P,) uint32 number of the road user they belong to; 0 for everything else.
    """

    shape: np.ndarray
    center: np.ndarray
    rotation: np.ndarray
    half: np.ndarray
    taper: np.ndarray
    material: np.ndarray
    label: np.ndarray
    color: np.ndarray
    velocity: np.ndarray
    instance: np.ndarray

    def __len__(self) -> int:
        return len(self.shape)

    def select(self, index: np.ndarray | slice) -> Primitives:
        """Return the bodies of an index or mask array."""
        return Primitives(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def placed(
        self, world_SE3_body: np.ndarray, velocity: np.ndarray | tuple[float, float, float] = (0, 0, 0)
    ) -> Primitives:
        """Return these bodies moved as one by ``world_SE3_body`` (4, 4), all with ``velocity`` (3,) m/s."""
        rotation = world_SE3_body[:3, :3]
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["center"] = self.center @ rotation.T + world_SE3_body[:3, 3]
        values["rotation"] = rotation @ self.rotation
        values["velocity"] = np.broadcast_to(np.asarray(velocity, np.float64), self.center.shape)
        return Primitives(**values)

    def numbered(self, instance: int) -> Primitives:
        """Return these bodies as one road user of this number."""
        return replace(self, instance=np.full(len(self), instance, np.uint32))

    def bounding_half(self) -> np.ndarray:
        """Return (P, 3) half sizes of boxes that hold the bodies, tapers included."""
        half = self.half.copy()
        half[:, :2] += np.abs(self.taper) * self.half[:, 2:]
        return half


def body(
    shape: Shape,
    center: tuple[float, float, float],
    half: tuple[float, float, float],
    material: int,
    label: int,
    color: Sequence[float],
    taper: tuple[float, float] = (0.0, 0.0),
    yaw_rad: float = 0.0,
) -> Primitives:
    """Return one resting body turned by ``yaw_rad`` about z."""
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    return Primitives(
        np.array([shape], np.int8), np.array([center], np.float64),
        np.array([[[c, -s, 0], [s, c, 0], [0, 0, 1]]], np.float64),
        np.array([half], np.float64), np.array([taper], np.float64), np.array([material], np.uint8),
        np.array([label], np.uint16), np.array([color], np.float32), np.zeros((1, 3)), np.zeros(1, np.uint32),
    )  # fmt: skip


def concatenate(parts: list[Primitives]) -> Primitives:
    """Return all bodies of ``parts`` (at least one) in order."""
    return Primitives(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Primitives)})


def intersect(shape: int, o: np.ndarray, d: np.ndarray, half: np.ndarray, taper: np.ndarray) -> np.ndarray:
    """Return (n, K) distances to the first hit in front of the rays, inf for a miss; rays from inside miss.

    Args:
        shape: one :class:`Shape` for all.
        o: (3, n, K) ray starts in the bodies' frames.
        d: (3, n, K) unit directions in the bodies' frames.
        half: (n, 3) half sizes.
        taper: (n, 2) tapers.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if shape == Shape.BLOCK:
            enter, leave = _block(o, d, half, taper)
        elif shape == Shape.ELLIPSOID:
            enter, leave = _quadric(o, d, half, 3)
        else:
            enter, leave = _quadric(o, d, half, 2)
            enter, leave = _slab(enter, leave, o[2], d[2], half[:, 2:3])
        return np.where((enter < leave) & (enter > 0), enter, np.float32(np.inf))


def _slab(
    enter: np.ndarray, leave: np.ndarray, o: np.ndarray, d: np.ndarray, half: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    inverse = 1.0 / d
    a, b = (-half - o) * inverse, (half - o) * inverse
    return np.fmax(enter, np.minimum(a, b)), np.fmin(leave, np.maximum(a, b))


def _block(o: np.ndarray, d: np.ndarray, half: np.ndarray, taper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    big = np.float32(np.inf)
    enter, leave = _slab(np.full_like(o[0], -big), np.full_like(o[0], big), o[2], d[2], half[:, 2:3])
    if not taper.any():
        for axis in (0, 1):
            enter, leave = _slab(enter, leave, o[axis], d[axis], half[:, axis : axis + 1])
        return enter, leave
    for axis in (0, 1):
        lean, size = taper[:, axis : axis + 1], half[:, axis : axis + 1]
        for sign in (1.0, -1.0):
            speed = np.float32(sign) * d[axis] + lean * d[2]
            t = (size - np.float32(sign) * o[axis] - lean * o[2]) / speed
            enter = np.where(speed < 0, np.fmax(enter, t), enter)
            leave = np.where(speed > 0, np.fmin(leave, t), leave)
    return enter, leave


def _quadric(o: np.ndarray, d: np.ndarray, half: np.ndarray, axes: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit sphere (3 axes) or circle (2 axes) after scaling, from the line's nearest point: exact in float32."""
    inverse = [1.0 / half[:, axis : axis + 1] for axis in range(axes)]
    so, sd = [o[i] * inverse[i] for i in range(axes)], [d[i] * inverse[i] for i in range(axes)]
    square = sum(v * v for v in sd)
    middle = -sum(a * b for a, b in zip(so, sd, strict=True)) / square
    miss = sum((a + middle * b) ** 2 for a, b in zip(so, sd, strict=True))
    reach = np.sqrt(np.maximum(1.0 - miss, 0.0) / square)
    return np.where(miss < 1.0, middle - reach, np.float32(np.inf)), middle + reach


def normals(shape: np.ndarray, p: np.ndarray, half: np.ndarray, taper: np.ndarray) -> np.ndarray:
    """Return (3, M) outward unit normals, body frame, of points ``p`` (3, M) on bodies given one per point."""
    with np.errstate(divide="ignore", invalid="ignore"):
        normal = p / (half.T**2)
        cylinder = shape == Shape.CYLINDER
        cap = cylinder & (half[:, 2] - np.abs(p[2]) < 1e-3 * half[:, 2] + 1e-4)
        normal[2, cylinder] = 0
        normal[:2, cap] = 0
        normal[2, cap] = np.sign(p[2, cap])
        block = np.flatnonzero(shape == Shape.BLOCK)
        normal[:, block] = _block_normals(p[:, block], half[block], taper[block])
        return normal / np.sqrt((normal * normal).sum(0))


def _block_normals(p: np.ndarray, half: np.ndarray, taper: np.ndarray) -> np.ndarray:
    gaps = np.stack([half[:, a] - np.abs(p[a]) - (taper[:, a] * p[2] if a < 2 else 0) for a in range(3)])
    face = np.argmin(np.abs(gaps), 0)
    normal = np.zeros_like(p)
    every = np.arange(p.shape[1])
    normal[face, every] = np.sign(p[face, every])
    side = face < 2
    normal[2, side] = taper[every[side], face[side]]
    return normal
