"""Poses of frames of a bag: the tree of transforms (``/tf``, ``/tf_static``) and odometry, at any time.

A transform gives the pose of a child frame in its parent. Frames are followed from a sensor up to the root of the tree.
Between the times of a transform, poses lie on straight lines with constant turn rates.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cosmos_lidar.clips.poses import interpolate_poses, pose_from_quaternion

_DEEPEST = 64
_BEYOND_NS = 1_000_000_000  # sweeps may start so long before the first or end so long after the last transform


@dataclass
class Edge:
    """A child frame in its parent.

    Attributes:
        parent: frame.
        times_ns: (K,) increasing; empty for a static one.
        poses: (K, 4, 4), or (1, 4, 4) of a static one.
    """

    parent: str
    times_ns: np.ndarray
    poses: np.ndarray

    @property
    def static(self) -> bool:
        """Whether it does not move."""
        return not len(self.times_ns)


@dataclass
class Frames:
    """The tree of frames of a bag.

    Attributes:
        edges: child frame -> edge.
        dropped: transforms that were left out: no rotation, or another parent than before.
    """

    edges: dict[str, Edge] = field(default_factory=dict)
    dropped: int = 0

    def path(self, frame: str) -> list[str]:
        """Return a frame, its parent, and so on up to the root, at most once each."""
        path = [frame]
        while path[-1] in self.edges and len(path) < _DEEPEST and self.edges[path[-1]].parent not in path:
            path.append(self.edges[path[-1]].parent)
        return path

    def world(self, frame: str) -> str | None:
        """Return the highest frame above one that moves against it; None where nothing moves."""
        path = self.path(frame)
        return path[-1] if any(not self.edges[child].static for child in path[:-1]) else None

    def pose(self, child: str, ancestor: str, times_ns: np.ndarray) -> np.ndarray | None:
        """Return (..., 4, 4) ancestor_SE3_child at times; None where a moving edge has none near them."""
        found = np.broadcast_to(np.eye(4), (*times_ns.shape, 4, 4))
        for frame in self.path(child):
            if frame == ancestor:
                return np.array(found)
            edge = self.edges.get(frame)
            if edge is None:
                return None
            if edge.static:
                found = edge.poses[0] @ found
                continue
            if times_ns.min() < edge.times_ns[0] - _BEYOND_NS or times_ns.max() > edge.times_ns[-1] + _BEYOND_NS:
                return None
            start = edge.times_ns[0]  # float64 holds microseconds of a bag, not nanoseconds since 1970
            found = interpolate_poses(edge.poses, edge.times_ns - start, times_ns - start) @ found
        return None

    def mounting(self, one: str, other: str) -> np.ndarray | None:
        """Return (4, 4) other_SE3_one of two frames that do not move against each other; else None."""
        above_one, above_other = self._static_path(one), self._static_path(other)
        shared = next((frame for frame in above_one if frame in above_other), None)
        if shared is None:
            return None
        return np.linalg.inv(self._static_pose(other, shared)) @ self._static_pose(one, shared)

    def _static_path(self, frame: str) -> list[str]:
        path = self.path(frame)
        moving = next((place for place, child in enumerate(path[:-1]) if not self.edges[child].static), len(path) - 1)
        return path[: moving + 1]

    def _static_pose(self, frame: str, ancestor: str) -> np.ndarray:
        pose = np.eye(4)
        for child in self.path(frame):
            if child == ancestor:
                break
            pose = self.edges[child].poses[0] @ pose
        return pose


def frame_name(text: str) -> str:
    """Return a frame without the slash that ROS 1 may put before it."""
    return text.lstrip("/")


def build_frames(transforms: Iterable[tuple[Any, bool]], odometry: Iterable[tuple[Any, int]]) -> Frames:
    """Return the tree of transforms; a message of odometry adds the edge of its frames where there is none.

    Args:
        transforms: TransformStamped messages, and whether they come from the static topic.
        odometry: Odometry messages, and the times at which they were recorded, ns.
    """
    samples: dict[str, dict[str, list[tuple[int, np.ndarray]]]] = {}
    static: dict[str, tuple[str, np.ndarray]] = {}
    frames = Frames()
    for message, is_static in transforms:
        child, parent = frame_name(message.child_frame_id), frame_name(message.header.frame_id)
        pose = _pose(message.transform.translation, message.transform.rotation)
        if pose is None or child == parent:
            frames.dropped += 1
        elif is_static:
            static[child] = parent, pose
        else:
            samples.setdefault(child, {}).setdefault(parent, []).append((stamp_ns(message.header.stamp), pose))
    taken = set(samples) | set(static)
    for message, time_ns in odometry:
        child, parent = frame_name(message.child_frame_id), frame_name(message.header.frame_id)
        pose = _pose(message.pose.pose.position, message.pose.pose.orientation)
        if pose is None or child == parent:
            frames.dropped += 1
        elif child not in taken:
            samples.setdefault(child, {}).setdefault(parent, []).append(
                (stamp_ns(message.header.stamp) or time_ns, pose)
            )
    for child, (parent, pose) in static.items():
        frames.edges[child] = Edge(parent, np.empty(0, np.int64), pose[None])
    for child, by_parent in samples.items():
        parent = max(by_parent, key=lambda one: len(by_parent[one]))
        frames.dropped += sum(len(found) for one, found in by_parent.items() if one != parent)
        if child not in static:
            frames.edges[child] = _moving_edge(parent, by_parent[parent])
    return frames


def _moving_edge(parent: str, samples: list[tuple[int, np.ndarray]]) -> Edge:
    times = np.array([time for time, _ in samples], np.int64)
    times, first = np.unique(times, return_index=True)
    return Edge(parent, times, np.stack([samples[place][1] for place in first]))


def stamp_ns(stamp: Any) -> int:
    """Return the nanoseconds of a stamp."""
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def _pose(translation: Any, rotation: Any) -> np.ndarray | None:
    """Return (4, 4); None where it is no rigid motion."""
    quaternion = [rotation.w, rotation.x, rotation.y, rotation.z]
    values = np.array([*quaternion, translation.x, translation.y, translation.z])
    if not np.isfinite(values).all() or abs(np.linalg.norm(values[:4]) - 1) > 0.05:
        return None
    return pose_from_quaternion(quaternion, [translation.x, translation.y, translation.z])
