"""Boxes of objects around the vehicle, in the world, at any time: recorded at some moments and interpolated between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from cosmos_lidar.clips.nearest import nearest_numbers
from cosmos_lidar.clips.poses import interpolate_poses

Kind = Literal["vehicle", "person", "cyclist", "sign", "other"]
KINDS: tuple[str, ...] = get_args(Kind)
_WORDS = (
    ("person", ("pedestrian", "person", "people")),
    ("cyclist", ("cyclist", "bicycl", "motorcycl", "rider", "bike")),
    ("sign", ("sign",)),
    ("vehicle", ("car", "truck", "bus", "vehicle", "van", "trailer", "automobile", "towed")),
)


@dataclass(frozen=True)
class Boxes:
    """Boxes at one moment.

    Attributes:
        world_SE3_box: (N, 4, 4) float64: origin in the middle, x forward along the length, y left, z up.
        size_m: (N, 3) float64 length, width, height.
        kinds: (N,) of :data:`KINDS`.
        tracks: (N,) name of the object, the same at all moments.
    """

    world_SE3_box: np.ndarray
    size_m: np.ndarray
    kinds: tuple[str, ...]
    tracks: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.tracks)

    def corners(self) -> np.ndarray:
        """Return (N, 8, 3) world; bits 4, 2, 1 of the place are front, left and top."""
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 2.0
        local = signs * self.size_m[:, None]
        return np.einsum("nij,nkj->nki", self.world_SE3_box[:, :3, :3], local) + self.world_SE3_box[:, None, :3, 3]


NO_BOXES = Boxes(np.zeros((0, 4, 4)), np.zeros((0, 3)), (), ())


@dataclass(frozen=True)
class RecordedBoxes:
    """Boxes that were labeled at some moments.

    Attributes:
        times_us: (K,) int64, increasing.
        moments: the boxes at these times.
    """

    times_us: np.ndarray
    moments: Sequence[Boxes]

    def __call__(self, time_us: int) -> Boxes:
        """Return the boxes at a time: of objects labeled before and after, on straight lines with constant turn rates.

        The others are where they were at the nearest moment. Farther from all moments than two of them are apart, there
        are none.
        """
        nearest = int(nearest_numbers(self.times_us, np.array([time_us]))[0])
        if abs(int(self.times_us[nearest]) - time_us) > self._step_us:
            return NO_BOXES
        here = self.moments[nearest]
        other = nearest + (1 if time_us > self.times_us[nearest] else -1)
        if time_us == self.times_us[nearest] or not 0 <= other < len(self.moments):
            return here
        first, last = sorted((nearest, other))
        places = {track: place for place, track in enumerate(self.moments[other].tracks)}
        poses = here.world_SE3_box.copy()
        for place, track in enumerate(here.tracks):
            if track in places:
                there = self.moments[other].world_SE3_box[places[track]]
                pair = (here.world_SE3_box[place], there) if first == nearest else (there, here.world_SE3_box[place])
                poses[place] = interpolate_poses(np.stack(pair), self.times_us[[first, last]], np.float64(time_us))
        return Boxes(poses, here.size_m, here.kinds, here.tracks)

    @property
    def _step_us(self) -> float:
        return float(np.median(np.diff(self.times_us))) if len(self.times_us) > 1 else 100_000.0


def kind_of(name: str) -> str:
    """Return which of :data:`KINDS` the name of a class means."""
    lower = name.lower()
    return next((kind for kind, words in _WORDS if any(word in lower for word in words)), "other")
