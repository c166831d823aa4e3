"""Exact boxes of the road users of a street."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cosmos_lidar.clips.boxes import NO_BOXES, Boxes, kind_of
from cosmos_lidar.synth.labels import CLASS_NAMES
from cosmos_lidar.synth.primitives import Primitives

_SIGNS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)


@dataclass(frozen=True)
class DriveBoxes:
    """``boxes`` of a clip.

    Attributes:
        bodies: of the street, at seconds after the start of the drive.
        start_us: of the drive.
    """

    bodies: Callable[[float], Primitives]
    start_us: int

    def __call__(self, time_us: int) -> Boxes:
        """Return the boxes at a time."""
        return boxes_of(self.bodies((time_us - self.start_us) / 1e6))


def boxes_of(bodies: Primitives) -> Boxes:
    """Return the smallest boxes around the bodies of each road user, in the directions of its first body."""
    reach = bodies.bounding_half()[:, None] * _SIGNS
    corners = np.einsum("pij,pkj->pki", bodies.rotation, reach) + bodies.center[:, None]
    numbers = np.unique(bodies.instance[bodies.instance > 0])
    if not len(numbers):
        return NO_BOXES
    poses, sizes, kinds = np.tile(np.eye(4), (len(numbers), 1, 1)), np.zeros((len(numbers), 3)), []
    for place, number in enumerate(numbers):
        mine = np.flatnonzero(bodies.instance == number)
        rotation = bodies.rotation[mine[0]]
        local = corners[mine].reshape(-1, 3) @ rotation
        low, high = local.min(0), local.max(0)
        poses[place, :3, :3], poses[place, :3, 3], sizes[place] = rotation, rotation @ ((low + high) / 2), high - low
        kinds.append(kind_of(CLASS_NAMES[int(bodies.label[mine[0]])]))
    return Boxes(poses, sizes, tuple(kinds), tuple(str(number) for number in numbers))
