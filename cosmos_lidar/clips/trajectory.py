"""Trajectories: poses of a body at their own times, interpolated straight (slerp) or with constant acceleration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosmos_lidar.clips.poses import interpolate_poses, rotation_from_vector, rotation_vector
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.rigid import rigid


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Poses of one body at any number of times.

    Attributes:
        world_SE3_body: (K, 4, 4) float64, body to world.
        times_us: (K,) int64 microseconds, increasing.
        order: of the motion between poses. 1: straight lines and constant turn rates (as interpolate_poses). 2: the
            blend of the two parabolas through three neighboring poses each, exact where acceleration and angular
            acceleration about one axis are constant; for poses of a low rate, such as 10 Hz and below.

    Raises:
        DataError: poses that are not rigid, times that do not increase, another order.
    """

    world_SE3_body: np.ndarray
    times_us: np.ndarray
    order: int = 1

    def __post_init__(self) -> None:
        """Refuse what is no trajectory."""
        poses, times = np.asarray(self.world_SE3_body), np.asarray(self.times_us)
        wanted = "(K, 4, 4) rigid poses at (K,) increasing times"
        if poses.ndim != 3 or poses.shape[1:] != (4, 4) or times.shape != poses.shape[:1] or not len(times):
            raise DataError(f"trajectory of poses {poses.shape} at times {times.shape}", wanted=wanted)
        if not (np.diff(times) > 0).all():
            raise DataError("trajectory with times that do not increase", key="times_us", wanted=wanted)
        if not rigid(poses).all():
            raise DataError(f"pose {int(np.argmin(rigid(poses)))} is no rigid motion", wanted=wanted)
        if self.order not in (1, 2):
            raise DataError(f"order {self.order}", key="order", wanted="1 (straight) or 2 (constant acceleration)")

    def at(self, times_us: np.ndarray) -> np.ndarray:
        """Return (..., 4, 4) float64 poses at times (...) µs; beyond both ends the motion continues."""
        # Differences of integers: microseconds since 1970 as float64 are exact to a quarter only.
        nodes = (self.times_us - self.times_us[0]).astype(np.float64)
        wanted = (np.asarray(times_us) - self.times_us[0]).astype(np.float64)
        if self.order == 1 or len(nodes) < 3:
            return interpolate_poses(self.world_SE3_body, nodes, wanted)
        return _second_order(np.asarray(self.world_SE3_body, np.float64), nodes, wanted)

    def moved(self, body_SE3_part: np.ndarray) -> Trajectory:
        """Return the trajectory of a part that is mounted on the body at (4, 4) ``body_SE3_part``."""
        return Trajectory(self.world_SE3_body @ body_SE3_part, self.times_us, self.order)


def _second_order(poses: np.ndarray, nodes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    left = np.clip(np.searchsorted(nodes, wanted, side="right") - 1, 0, len(nodes) - 2)
    share = np.clip((wanted - nodes[left]) / (nodes[left + 1] - nodes[left]), 0.0, 1.0)[..., None]
    base = poses[left]
    before = _parabola(poses, nodes, wanted, np.clip(left - 1, 0, len(nodes) - 3), base)
    after = _parabola(poses, nodes, wanted, np.clip(left, 0, len(nodes) - 3), base)
    motion = (1.0 - share) * before + share * after
    result = base.copy()
    result[..., :3, 3] += motion[..., :3]
    result[..., :3, :3] = base[..., :3, :3] @ rotation_from_vector(motion[..., 3:])
    return result


def _parabola(
    poses: np.ndarray, nodes: np.ndarray, wanted: np.ndarray, first: np.ndarray, base: np.ndarray
) -> np.ndarray:
    """Return (..., 6) way and rotation vector from ``base``, by the parabola through three poses from ``first``."""
    total = np.zeros((*wanted.shape, 6))
    for one in range(3):
        weight = np.ones(wanted.shape)
        for other in {0, 1, 2} - {one}:
            weight *= (wanted - nodes[first + other]) / (nodes[first + one] - nodes[first + other])
        pose = poses[first + one]
        turn = rotation_vector(np.swapaxes(base[..., :3, :3], -1, -2) @ pose[..., :3, :3])
        way = pose[..., :3, 3] - base[..., :3, 3]
        total += weight[..., None] * np.concatenate([way, turn], -1)
    return total
