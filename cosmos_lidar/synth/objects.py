"""The things of a street, each as a handful of convex bodies standing at the origin and facing x."""

from __future__ import annotations

from functools import partial

import numpy as np

from cosmos_lidar.synth.labels import Material as M
from cosmos_lidar.synth.primitives import Primitives, Shape, body, concatenate

block, ball, rod = (partial(body, shape) for shape in (Shape.BLOCK, Shape.ELLIPSOID, Shape.CYLINDER))

_PAINTS = np.array([
    (0.75, 0.75, 0.76), (0.86, 0.86, 0.85), (0.08, 0.08, 0.09), (0.30, 0.31, 0.33), (0.48, 0.05, 0.06),
    (0.08, 0.16, 0.38), (0.10, 0.26, 0.22), (0.62, 0.55, 0.42), (0.55, 0.60, 0.64), (0.80, 0.36, 0.08),
])  # fmt: skip
_WALLS = np.array([
    (0.72, 0.66, 0.55), (0.62, 0.38, 0.28), (0.78, 0.75, 0.68), (0.55, 0.53, 0.50), (0.70, 0.56, 0.42),
    (0.52, 0.28, 0.22), (0.66, 0.68, 0.66), (0.80, 0.70, 0.52),
])  # fmt: skip
_CLOTHES = np.array(
    [
        (0.12, 0.16, 0.30),
        (0.50, 0.10, 0.12),
        (0.20, 0.32, 0.22),
        (0.62, 0.60, 0.55),
        (0.10, 0.10, 0.11),
        (0.75, 0.6, 0.15),
    ]
)


def _pick(rng: np.random.Generator, table: np.ndarray) -> tuple[float, ...]:
    color = np.clip(table[rng.integers(len(table))] * rng.uniform(0.85, 1.1), 0, 1)
    return tuple(float(v) for v in color)


def _wheels(
    length_m: float, width_m: float, radius_m: float, label: int, axles: tuple[float, ...] = (-0.3, 0.3)
) -> list[Primitives]:
    return [
        ball((a * length_m, side * (width_m / 2 - 0.07), radius_m), (radius_m, 0.13, radius_m), M.RUBBER, label,
             (0.04, 0.04, 0.04))
        for a in axles for side in (-1, 1)
    ]  # fmt: skip


def car(rng: np.random.Generator, label: int = 10) -> Primitives:
    """Return a car: lower body, glazed cabin with a painted roof, wheels, lamps and plates."""
    paint = _pick(rng, _PAINTS)
    estate = rng.random() < 0.45
    length, width, height = rng.uniform(4.0, 4.8), rng.uniform(1.76, 1.88), rng.uniform(1.42, 1.70)
    waist, floor = 0.58 * height, 0.20
    cabin_length = length * (0.66 if estate else 0.52)
    cabin_x = -length * (0.13 if estate else 0.07)
    cabin = (cabin_length / 2, width / 2 - 0.09, (height - waist) / 2)
    middle = (floor + waist) / 2
    parts = [
        block((0, 0, middle), (length / 2 - 0.06, width / 2, (waist - floor) / 2), M.PAINT, label, paint, (0.10, 0.03)),
        block((cabin_x, 0, (height + waist) / 2), cabin, M.GLASS, label, paint, (0.35 if estate else 0.55, 0.22)),
        block((0, 0, floor + 0.14), (length / 2, width / 2 - 0.04, 0.12), M.RUBBER, label, (0.07, 0.07, 0.08)),
    ]
    for side in (-1, 1):
        lamp_y = side * (width / 2 - 0.22)
        parts.append(block((-length / 2 + 0.07, lamp_y, 0.72), (0.05, 0.15, 0.07), M.SIGN, label, (0.55, 0.05, 0.04)))
        parts.append(block((length / 2 - 0.08, lamp_y, 0.62), (0.05, 0.16, 0.07), M.SIGN, label, (0.92, 0.92, 0.86)))
        parts.append(block((0.18 * length, side * (width / 2 + 0.06), 0.95), (0.06, 0.08, 0.06), M.PAINT, label, paint))
        plate_x = side * (length / 2 - 0.01)
        parts.append(block((plate_x, 0, 0.45), (0.03, 0.26, 0.06), M.SIGN, label, (0.85, 0.85, 0.80)))
    return concatenate(parts + _wheels(length, width, 0.33, label))


def truck(rng: np.random.Generator, label: int = 18) -> Primitives:
    """Return a box truck: cab, windscreen, load, chassis, wheels."""
    paint, load = _pick(rng, _PAINTS), _pick(rng, _PAINTS)
    length, height = rng.uniform(7.0, 9.5), rng.uniform(3.0, 3.7)
    parts = [
        block((length / 2 - 1.0, 0, 1.6), (0.95, 1.12, 1.1), M.PAINT, label, paint, (0.06, 0.03)),
        block((length / 2 - 0.55, 0, 2.05), (0.53, 1.02, 0.42), M.GLASS, label, paint, (0.06, 0.03)),
        block((-1.05, 0, (height + 0.95) / 2), (length / 2 - 1.15, 1.23, (height - 0.95) / 2), M.PAINT, label, load),
        block((-0.2, 0, 0.72), (length / 2 - 0.3, 0.8, 0.2), M.RUBBER, label, (0.1, 0.1, 0.1)),
    ]
    return concatenate(parts + _wheels(length, 2.3, 0.48, label, (-0.33, -0.2, 0.36)))


def _person(rng: np.random.Generator, label: int, hip_m: float, lean: float = 0.0) -> list[Primitives]:
    coat, skin = _pick(rng, _CLOTHES), (0.72, 0.55, 0.44)
    shoulder = hip_m + 0.52
    return [
        ball((lean * 0.5, 0, hip_m + 0.26), (0.16, 0.23, 0.38), M.CLOTH, label, coat),
        ball((lean, 0, shoulder + 0.24), (0.10, 0.09, 0.13), M.SKIN, label, skin),
        ball((lean - 0.02, 0, shoulder + 0.30), (0.11, 0.10, 0.09), M.CLOTH, label, (0.16, 0.11, 0.07)),
        *(ball((lean * 0.6 + 0.04, s * 0.27, hip_m + 0.22), (0.07, 0.06, 0.33), M.CLOTH, label, coat) for s in (-1, 1)),
    ]


def pedestrian(rng: np.random.Generator, label: int = 30) -> Primitives:
    """Return a walking person of 1.6 to 1.85 m."""
    trousers = _pick(rng, _CLOTHES)
    hip, stride = rng.uniform(0.80, 0.95), rng.uniform(0.0, 0.22)
    legs = [
        ball(
            (s * stride * 0.6, s * 0.10, hip / 2), (0.08 + 0.2 * stride, 0.09, hip / 2 + 0.04), M.CLOTH, label, trousers
        )
        for s in (-1, 1)
    ]
    return concatenate(_person(rng, label, hip) + legs)


def cyclist(rng: np.random.Generator, label: int = 31) -> Primitives:
    """Return a person on a bicycle."""
    frame = _pick(rng, _PAINTS)
    parts = _person(rng, label, 0.95, 0.22)
    for x in (-0.52, 0.52):
        parts.append(ball((x, 0, 0.34), (0.34, 0.025, 0.34), M.RUBBER, label, (0.05, 0.05, 0.05)))
    parts.append(block((-0.02, 0, 0.60), (0.21, 0.02, 0.22), M.METAL, label, frame, (-0.7, 0.0)))
    parts.append(block((-0.05, 0, 0.34), (0.42, 0.02, 0.02), M.METAL, label, frame))
    parts.append(block((0.46, 0, 1.0), (0.03, 0.27, 0.03), M.METAL, label, (0.1, 0.1, 0.1)))
    for side in (-1, 1):
        parts.append(ball((0.08, side * 0.12, 0.66), (0.13, 0.08, 0.40), M.CLOTH, label, (0.1, 0.1, 0.16)))
    return concatenate(parts)


def tree(rng: np.random.Generator) -> Primitives:
    """Return a street tree of 5 to 9 m: a trunk and a crown of several overlapping ellipsoids."""
    clear, crown = rng.uniform(2.0, 2.9), rng.uniform(1.5, 2.4)
    green = np.array([0.16, 0.27, 0.08]) * rng.uniform(0.8, 1.25)
    parts = [
        rod(
            (0, 0, clear / 2 + 0.4), (rng.uniform(0.11, 0.22),) * 2 + (clear / 2 + 0.4,), M.BARK, 71, (0.23, 0.17, 0.12)
        )
    ]
    parts.append(ball((0, 0, clear + crown), (crown * 0.82, crown * 0.82, crown), M.LEAVES, 70, tuple(green)))
    for _ in range(int(rng.integers(5, 9))):
        angle, out, up = rng.uniform(0, 2 * np.pi), rng.uniform(0.45, 0.75) * crown, rng.uniform(0.6, 1.6) * crown
        size, shade = rng.uniform(0.38, 0.6, 3) * crown, green * rng.uniform(0.8, 1.25)
        center = (out * np.cos(angle), out * np.sin(angle), clear + up)
        parts.append(ball(center, tuple(size), M.LEAVES, 70, tuple(shade)))
    return concatenate(parts)


def lamp(rng: np.random.Generator) -> Primitives:
    """Return a street lamp whose arm reaches over the road (along x)."""
    height = rng.uniform(6.0, 7.5)
    gray = (0.35, 0.37, 0.38)
    return concatenate([
        rod((0, 0, height / 2), (0.075, 0.075, height / 2), M.METAL, 80, gray),
        rod((0, 0, 0.5), (0.12, 0.12, 0.5), M.METAL, 80, gray),
        block((0.8, 0, height - 0.05), (0.8, 0.04, 0.04), M.METAL, 80, gray),
        block((1.6, 0, height - 0.06), (0.32, 0.13, 0.06), M.METAL, 80, (0.7, 0.7, 0.66)),
    ])  # fmt: skip


def sign(rng: np.random.Generator) -> Primitives:
    """Return a traffic sign that faces -x."""
    face = [(0.70, 0.06, 0.07), (0.08, 0.20, 0.58), (0.90, 0.75, 0.10)][int(rng.integers(3))]
    return concatenate([
        rod((0, 0, 1.35), (0.04, 0.04, 1.35), M.METAL, 80, (0.5, 0.5, 0.5)),
        ball((-0.06, 0, 2.45), (0.03, 0.34, 0.34), M.SIGN, 81, face),
    ])  # fmt: skip


def building(rng: np.random.Generator, width_m: float, depth_m: float) -> Primitives:
    """Return a house of ``width_m`` along x and ``depth_m`` along y, with a ridged or a flat roof."""
    floors, wall = int(rng.integers(2, 7)), _pick(rng, _WALLS)
    height, below = floors * 3.0 + 0.4, 1.5
    parts = [block((0, 0, height / 2), (width_m / 2, depth_m / 2, height / 2), M.FACADE, 50, wall)]
    parts.append(block((0, 0, -below / 2 + 0.25), (width_m / 2 + 0.04, depth_m / 2 + 0.04, below / 2 + 0.25),
                      M.KERB, 50,
                      tuple(0.6 * v for v in wall)))  # fmt: skip
    if floors <= 4 and rng.random() < 0.7:
        rise, eaves = depth_m * rng.uniform(0.25, 0.38), 0.35
        half = (width_m / 2 + 0.1, (depth_m / 2 + eaves) / 2, rise / 2)
        tile = tuple(float(v) for v in np.array([0.36, 0.16, 0.11]) * rng.uniform(0.6, 1.2))
        parts.append(block((0, 0, height + rise / 2), half, M.ROOF, 50, tile, (0.0, 1.999 * half[1] / rise)))
    else:
        parts.append(
            block((0, 0, height + 0.15), (width_m / 2 + 0.15, depth_m / 2 + 0.15, 0.2), M.ROOF, 50, (0.4, 0.39, 0.38))
        )
        parts.append(block((width_m * 0.2, 0, height + 1.0), (1.2, 1.5, 0.9), M.ROOF, 50, (0.5, 0.49, 0.47)))
    for side in (-1, 1):
        parts.append(block((rng.uniform(-0.3, 0.3) * width_m, side * depth_m / 2, 1.05), (0.5, 0.06, 1.05), M.WOOD, 50,
                          (0.25, 0.16, 0.10)))  # fmt: skip
    return concatenate(parts)


def hedge(rng: np.random.Generator, length_m: float) -> Primitives:
    """Return a hedge along x."""
    green = tuple(float(v) for v in np.array([0.12, 0.22, 0.07]) * rng.uniform(0.8, 1.2))
    height = rng.uniform(0.9, 1.7)
    return block((0, 0, height / 2 - 0.1), (length_m / 2, 0.35, height / 2 + 0.1), M.LEAVES, 70, green, (0.0, 0.08))


def fence(rng: np.random.Generator, length_m: float) -> Primitives:
    """Return a wooden fence along x: posts and two rails, or boards."""
    brown = tuple(float(v) for v in np.array([0.42, 0.31, 0.21]) * rng.uniform(0.7, 1.2))
    height = rng.uniform(1.0, 1.5)
    posts = np.arange(-length_m / 2, length_m / 2 + 0.01, 2.0)
    parts = [block((float(x), 0, height / 2), (0.05, 0.05, height / 2 + 0.05), M.WOOD, 51, brown) for x in posts]
    if rng.random() < 0.5:
        parts.append(block((0, 0, height / 2 + 0.05), (length_m / 2, 0.02, height / 2 - 0.05), M.WOOD, 51, brown))
    else:
        for z in (0.35, 0.85):
            parts.append(block((0, 0, z), (length_m / 2, 0.02, 0.06), M.WOOD, 51, brown))
    return concatenate(parts)
