"""Stores of one NCore V4 sequence: components by name, and poses between coordinate frames."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.clips.poses import interpolate_poses
from cosmos_lidar.clips.zarr_store import ZarrStore, open_store
from cosmos_lidar.sensors.rigid import rigid

VERSION, COMPONENT_VERSION = "v4", "v1"
_PAIR = re.compile(r"\(\s*(['\"])(?P<source>.*)\1\s*,\s*(['\"])(?P<target>.*)\3\s*\)")


@dataclass(frozen=True)
class Edge:
    """Poses from one coordinate frame to another.

    Attributes:
        source: frame.
        target: frame.
        target_SE3_source: (4, 4), or (K, 4, 4) with times.
        times_us: (K,) increasing; None of a fixed pose.
    """

    source: str
    target: str
    target_SE3_source: np.ndarray
    times_us: np.ndarray | None = None

    def at(self, times_us: np.ndarray) -> np.ndarray:
        """Return (..., 4, 4) target_SE3_source at times."""
        if self.times_us is None:
            return np.broadcast_to(self.target_SE3_source, (*np.shape(times_us), 4, 4))
        return interpolate_poses(self.target_SE3_source, self.times_us, times_us)


class Sequence:
    """What the stores of a sequence hold.

    Args:
        paths: of the stores.

    Raises:
        DataError: a store cannot be read, is of another version, or belongs to another sequence.
    """

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self.stores = [open_store(path) for path in paths]
        names = []
        for store in self.stores:
            root = store.attributes("")
            if root.get("version") != VERSION:
                raise store.broken(f"version {root.get('version')!r:.40}", "version", f"NCore {VERSION}")
            names.append(root.get("sequence_id"))
        self.name = str(names[0])
        for store, name in zip(self.stores, names, strict=True):
            if name != names[0]:
                raise store.broken(
                    f"sequence {name!r:.60}", "sequence_id", f"{self.name}, as {self.stores[0].path.name}"
                )

    def components(self, kind: str) -> dict[str, tuple[ZarrStore, str]]:
        """Return name -> (store, path of the group) of all components of a kind, such as ``lidars``.

        Raises:
            DataError: a component of an unknown version.
        """
        found = {}
        for store in self.stores:
            for name in store.children(kind):
                path = f"{kind}/{name}"
                version = store.attributes(path).get("component_version")
                if version != COMPONENT_VERSION:
                    raise store.broken(f"component version {version!r:.40}", path, COMPONENT_VERSION)
                found[name] = store, path
        return found

    def intrinsics(self, kind: str, sensor: str) -> tuple[ZarrStore, str, dict[str, Any]] | None:
        """Return store, path and attributes of the model of a camera or lidar; None where there is none."""
        for store, path in self.components("intrinsics").values():
            if sensor in store.children(f"{path}/{kind}"):
                where = f"{path}/{kind}/{sensor}"
                return store, where, store.attributes(where)
        return None

    def edges(self) -> list[Edge]:
        """Return all poses.

        Raises:
            DataError: no pairs of frames, no rigid poses, or times that do not increase.
        """
        found = []
        for store, path in self.components("poses").values():
            for kind in ("static_poses", "dynamic_poses"):
                for pair, entry in store.attributes(f"{path}/{kind}").items():
                    found.append(_edge(store, f"{path}/{kind}", pair, entry))
        return found


def _edge(store: ZarrStore, path: str, pair: Any, entry: Any) -> Edge:
    names = _PAIR.fullmatch(pair) if isinstance(pair, str) else None
    key = f"{path} {pair!r:.80}"
    if names is None or not isinstance(entry, dict):
        raise store.broken("no pair of frames with poses", key, "('source', 'target')")
    moving = "timestamps_us" in entry
    try:
        poses = np.array(entry.get("poses" if moving else "pose"), np.float64)
        times = np.array(entry["timestamps_us"], np.int64) if moving else None
    except (TypeError, ValueError, OverflowError) as error:
        raise store.broken(f"no numbers: {error!s:.80}", key) from error
    shape = (4, 4) if times is None else (len(times), 4, 4)
    if poses.shape != shape or not len(poses) or not rigid(poses).all():
        raise store.broken(f"poses of shape {poses.shape}", key, "rigid 4 x 4 poses, one per time")
    if times is not None and (np.diff(times) <= 0).any():
        raise store.broken("times that do not increase", key, "increasing microseconds")
    return Edge(names["source"], names["target"], poses, times)


def path_between(edges: list[Edge], source: str, target: str) -> list[tuple[Edge, bool]] | None:
    """Return the edges from one frame to another and whether each is taken backwards; None without a path."""
    came: dict[str, tuple[str, Edge, bool]] = {}
    waiting = deque([source])
    while waiting:
        frame = waiting.popleft()
        if frame == target:
            steps = []
            while frame != source:
                frame, edge, backwards = came[frame]
                steps.append((edge, backwards))
            return steps[::-1]
        for edge in edges:
            for near, far, backwards in ((edge.source, edge.target, False), (edge.target, edge.source, True)):
                if near == frame and far != source and far not in came:
                    came[far] = frame, edge, backwards
                    waiting.append(far)
    return None


def poses_along(steps: list[tuple[Edge, bool]], times_us: np.ndarray) -> np.ndarray:
    """Return (..., 4, 4) poses from the first frame of a path to its last at times."""
    poses = np.broadcast_to(np.eye(4), (*np.shape(times_us), 4, 4))
    for edge, backwards in steps:
        step = edge.at(times_us)
        poses = (np.linalg.inv(step) if backwards else step) @ poses
    return poses


def beyond_us(steps: list[tuple[Edge, bool]], times_us: np.ndarray) -> int:
    """Return how far times reach beyond those of the poses of a path, microseconds."""
    ends = [edge.times_us for edge, _ in steps if edge.times_us is not None]
    return max((int(max(own[0] - times_us.min(), times_us.max() - own[-1], 0)) for own in ends), default=0)


def frame_times(store: ZarrStore, path: str) -> np.ndarray:
    """Return (N, 2) int64 start and end of the frames of a sensor, microseconds.

    Raises:
        DataError: no pairs of whole numbers, or not increasing.
    """
    given, key = store.attributes(f"{path}/frames").get("frames_timestamps_us"), f"{path} frames_timestamps_us"
    if given == []:
        return np.zeros((0, 2), np.int64)
    try:
        times = np.array(given)
        if times.dtype.kind not in "iu" or times.ndim != 2 or times.shape[1] != 2 or (abs(times) >= 2**62).any():
            raise ValueError(f"{times.dtype} {times.shape}")
    except (TypeError, ValueError, OverflowError) as error:
        raise store.broken(f"no times of frames: {error!s:.80}", key, "pairs of microseconds") from error
    times = times.astype(np.int64)
    if (np.diff(times, axis=0) <= 0).any() or (times[:, 1] < times[:, 0]).any():
        raise store.broken("times that do not increase", key, "increasing microseconds")
    return times
