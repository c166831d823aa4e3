"""Boxes from the rows of a table: one row per object and moment, as datasets have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from cosmos_lidar.clips.boxes import NO_BOXES, Boxes, RecordedBoxes
from cosmos_lidar.clips.poses import interpolate_poses

_APART = 2.5  # steps between two labels of an object, between which it is there


@dataclass(frozen=True)
class BoxRows:
    """Labels, each of one object at one time.

    Attributes:
        times_us: (R,) int64.
        world_SE3_box: (R, 4, 4) float64, as in :class:`~cosmos_lidar.clips.boxes.Boxes`.
        size_m: (R, 3) float64 length, width, height.
        kinds: (R,) of :data:`~cosmos_lidar.clips.boxes.KINDS`.
        tracks: (R,) name of the object.
    """

    times_us: np.ndarray
    world_SE3_box: np.ndarray
    size_m: np.ndarray
    kinds: Sequence[str]
    tracks: Sequence[str]

    def __post_init__(self) -> None:
        """Raise ValueError for boxes that are none, naming the first row."""
        good = np.isfinite(self.world_SE3_box).all((1, 2)) & np.isfinite(self.size_m).all(1) & (self.size_m >= 0).all(1)
        if not good.all():
            raise ValueError(f"row {int(np.argmin(good))}: no finite box of sizes from 0 on")

    def at(self, rows: np.ndarray) -> Boxes:
        """Return some rows as boxes of one moment."""
        kinds, tracks = (tuple(names[row] for row in rows.tolist()) for names in (self.kinds, self.tracks))
        return Boxes(self.world_SE3_box[rows], self.size_m[rows], kinds, tracks)


def box_poses(quaternions: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Return poses (R, 4, 4) of unit quaternions (R, 4) w x y z and centers (R, 3).

    Raises:
        ValueError: a quaternion of another length than 1; names its row.
    """
    length = np.linalg.norm(quaternions, axis=1)
    good = np.isfinite(length) & (np.abs(length - 1.0) < 0.01)
    if not good.all():
        raise ValueError(f"row {int(np.argmin(good))}: no unit quaternion")
    poses = np.tile(np.eye(4), (len(centers), 1, 1))
    if len(centers):
        poses[:, :3, :3] = Rotation.from_quat(quaternions[:, [1, 2, 3, 0]]).as_matrix()
    poses[:, :3, 3] = centers
    return poses


def recorded_boxes(rows: BoxRows) -> RecordedBoxes:
    """Return the boxes of labels that all objects have at common times; there must be one."""
    times, moment = np.unique(rows.times_us, return_inverse=True)
    order = np.argsort(moment, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(moment[order])) + 1)
    return RecordedBoxes(times.astype(np.int64), [rows.at(part) for part in parts])


class TrackedBoxes:
    """Boxes of objects that were labeled each at its own times.

    An object is there from half a step before its first label to half a step after its last one, and between two labels
    that are not farther apart than 2.5 steps, on a straight line with a constant turn rate.

    Args:
        rows: the labels.
    """

    def __init__(self, rows: BoxRows) -> None:
        known = {track: number for number, track in enumerate(dict.fromkeys(rows.tracks))}
        numbers = np.array([known[track] for track in rows.tracks], np.int64)
        order = np.lexsort((rows.times_us, numbers))
        self.rows, self.times_us = rows, rows.times_us
        ends = np.flatnonzero(np.diff(numbers[order])) + 1
        self.parts = [part for part in np.split(order, ends) if len(part)]
        steps = np.concatenate([np.diff(rows.times_us[part]) for part in self.parts] or [np.zeros(0)])
        steps = steps[steps > 0]
        self.step_us = float(np.median(steps)) if len(steps) else 100_000.0

    def __call__(self, time_us: int) -> Boxes:
        """Return the boxes at a time."""
        chosen, poses = [], []
        for part in self.parts:
            times = self.times_us[part]
            after = int(np.searchsorted(times, time_us))
            before = after - 1
            if after < len(part) and times[after] == time_us:
                before = after
            inside = before >= 0 and after < len(part) and times[after] - times[before] <= _APART * self.step_us
            nearest = int(np.argmin(np.abs(times - time_us)))
            if not inside and abs(int(times[nearest]) - time_us) > self.step_us / 2:
                continue
            chosen.append(part[nearest])
            poses.append(self._pose(part, before, after, time_us) if inside else self.rows.world_SE3_box[part[nearest]])
        if not chosen:
            return NO_BOXES
        found = self.rows.at(np.array(chosen))
        return Boxes(np.stack(poses), found.size_m, found.kinds, found.tracks)

    def _pose(self, part: np.ndarray, before: int, after: int, time_us: int) -> np.ndarray:
        if before == after:
            return self.rows.world_SE3_box[part[before]]
        pair = part[[before, after]]
        return interpolate_poses(self.rows.world_SE3_box[pair], self.times_us[pair], np.float64(time_us))
