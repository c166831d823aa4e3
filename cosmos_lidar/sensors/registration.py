"""Point-to-plane ICP (iterative closest point) of two lidar clouds: small, of bounded time, for checks of poses.

Both clouds are thinned to one point per voxel. Normals are those of the neighborhood of each point of the target (PCA);
points without a plane around them are left out. Each step solves the linearized point-to-plane problem (Chen and
Medioni 1992; Low 2004) with Tukey's robust weights. How well a pose fits is counted on points that do not lie on level
ground: the ground looks the same wherever a vehicle drives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

_NEIGHBORS = 12
_LEAST_POINTS = 300
_FLATNESS = 0.15  # smallest / middle eigenvalue of a neighborhood that counts as a plane
_SPREAD = 0.03  # middle / largest: less is a line, such as one ring of a lidar
_LEVEL = 0.8  # |z| of a normal of level ground
_STEPS = 25
_SETTLED_M, _SETTLED_RAD = 1e-3, 1e-4


@dataclass(frozen=True, eq=False)
class PlaneCloud:
    """A cloud prepared as the target of :func:`register`.

    Attributes:
        points: (N, 3) float64 meters, of planes alone.
        normals: (N, 3) unit normals.
        tree: of the points.
    """

    points: np.ndarray
    normals: np.ndarray
    tree: cKDTree

    @property
    def upright(self) -> np.ndarray:
        """(N,) bool: points that do not lie on level ground."""
        return np.abs(self.normals[:, 2]) < _LEVEL


@dataclass(frozen=True, eq=False)
class Registration:
    """Result of :func:`register`.

    Attributes:
        target_SE3_source: (4, 4) the pose found.
        fit: as :func:`fit_of`, of that pose.
        settled: the last step was below 1 mm and 0.1 mrad.
    """

    target_SE3_source: np.ndarray
    fit: float
    settled: bool


def thin(points: np.ndarray, voxel_m: float, most: int, reach_m: float = 60.0) -> np.ndarray:
    """Return one point per voxel of those within ``reach_m``, at most ``most`` of them, (N, 3) float64."""
    points = np.asarray(points, np.float64)
    distance = np.linalg.norm(points, axis=1)
    points = points[np.isfinite(distance) & (distance > 1.0) & (distance < reach_m)]
    cells = np.floor(points / voxel_m).astype(np.int64) + (1 << 20)
    keys = (cells[:, 0] << 42) + (cells[:, 1] << 21) + cells[:, 2]
    _, first = np.unique(keys, return_index=True)
    if len(first) > most:
        first = np.random.default_rng(0).choice(first, most, replace=False)
    return points[np.sort(first)]


def plane_cloud(points: np.ndarray, voxel_m: float = 0.3, most: int = 15_000) -> PlaneCloud | None:
    """Return the points (M, 3) of a cloud that lie on planes, with normals; None where there are too few."""
    from scipy.spatial import cKDTree

    thinned = thin(points, voxel_m, most)
    if len(thinned) < _LEAST_POINTS:
        return None
    tree = cKDTree(thinned)
    _, near = tree.query(thinned, _NEIGHBORS)
    around = thinned[near] - thinned[near].mean(1, keepdims=True)
    values, vectors = np.linalg.eigh(np.einsum("nki,nkj->nij", around, around))
    kept = (values[:, 0] < _FLATNESS * values[:, 1]) & (values[:, 1] > _SPREAD * values[:, 2])
    if np.count_nonzero(kept) < _LEAST_POINTS:
        return None
    return PlaneCloud(thinned[kept], vectors[kept][:, :, 0], cKDTree(thinned[kept]))


def fit_of(source: PlaneCloud, target: PlaneCloud, target_SE3_source: np.ndarray, within_m: float = 0.15) -> float:
    """Return the share of upright points of the source with a like plane of the target within ``within_m``.

    A plane is like that of the point where both normals enclose less than 30 degrees. Only points of the source that
    have a neighbor within 3 m in the target count: others were out of sight.
    """
    points, normals = source.points[source.upright], source.normals[source.upright]
    rotation = target_SE3_source[:3, :3]
    moved = points @ rotation.T + target_SE3_source[:3, 3]
    distance, index = target.tree.query(moved, distance_upper_bound=3.0)
    seen = np.isfinite(distance)
    if np.count_nonzero(seen) < _LEAST_POINTS // 3:
        return 0.0
    moved, turned, index = moved[seen], normals[seen] @ rotation.T, index[seen]
    residual = np.abs(((moved - target.points[index]) * target.normals[index]).sum(1))
    alike = np.abs((turned * target.normals[index]).sum(1)) > np.cos(np.radians(30.0))
    return float(np.mean((residual < within_m) & alike & (distance[seen] < 1.0)))


def register(
    source: PlaneCloud, target: PlaneCloud, first_guess: np.ndarray, reach_m: float = 3.0, most: int = 4000
) -> Registration:
    """Return the pose that lays the source on the target, by point-to-plane ICP.

    Args:
        source: cloud that moves.
        target: cloud that stays.
        first_guess: (4, 4) target_SE3_source to begin with.
        reach_m: largest distance of pairs in the first step; halved from step to step, down to 0.5 m.
        most: points of the source that are used, upright ones first.
    """
    points = _choose(source, most)
    pose, settled = np.array(first_guess, np.float64), False
    for _ in range(_STEPS):
        step = _step(points @ pose[:3, :3].T + pose[:3, 3], target, reach_m)
        if step is None:
            break
        pose = step @ pose
        turned = float(np.linalg.norm(step[:3, :3] - np.eye(3)))
        settled = reach_m <= 0.5 and float(np.linalg.norm(step[:3, 3])) < _SETTLED_M and turned < _SETTLED_RAD
        if settled:
            break
        reach_m = max(0.5, reach_m * 0.7)
    return Registration(pose, fit_of(source, target, pose), settled)


def _choose(source: PlaneCloud, most: int) -> np.ndarray:
    """Return at most ``most`` points, at least half of them upright where there are so many."""
    rng = np.random.default_rng(0)
    upright, level = np.flatnonzero(source.upright), np.flatnonzero(~source.upright)
    upright = rng.choice(upright, min(len(upright), 3 * most // 4), replace=False)
    level = rng.choice(level, min(len(level), most - len(upright), max(len(upright) // 2, 100)), replace=False)
    return source.points[np.concatenate([upright, level])]


def _step(moved: np.ndarray, target: PlaneCloud, reach_m: float) -> np.ndarray | None:
    """Return the rigid motion (4, 4) of one Gauss-Newton step, or None where there is nothing to go by."""
    from scipy.spatial.transform import Rotation

    distance, index = target.tree.query(moved, distance_upper_bound=reach_m)
    near = np.isfinite(distance)
    if np.count_nonzero(near) < _LEAST_POINTS // 3:
        return None
    points, index = moved[near], index[near]
    normals = target.normals[index]
    residual = ((points - target.points[index]) * normals).sum(1)
    scale = max(0.05, min(reach_m, 4.685 * 1.4826 * float(np.median(np.abs(residual)))))
    weight = np.clip(1.0 - (residual / scale) ** 2, 0.0, None) ** 2
    rows = np.concatenate([np.cross(points, normals), normals], axis=1)
    matrix = rows.T @ (rows * weight[:, None])
    matrix += 1e-9 * np.trace(matrix) * np.eye(6)
    try:
        change = -np.linalg.solve(matrix, rows.T @ (weight * residual))
    except np.linalg.LinAlgError:
        return None
    step = np.eye(4)
    step[:3, :3] = Rotation.from_rotvec(change[:3]).as_matrix()
    step[:3, 3] = change[3:]
    return step
