"""Rigid poses (4, 4): interpolation in time, and out of quaternions.

scipy's ``Rotation`` gives other last bits, which would change prepared shards, and its ``Slerp`` does not extrapolate.
"""

from __future__ import annotations

import numpy as np


def interpolate_poses(world_SE3_body: np.ndarray, times_us: np.ndarray, wanted_us: np.ndarray) -> np.ndarray:
    """Return the poses at ``wanted_us``: straight lines and constant turn rates between neighbors and beyond.

    Args:
        world_SE3_body: (K, 4, 4) rigid poses; K = 1 returns that pose for every time.
        times_us: (K,) increasing times of them.
        wanted_us: (...) times, any shape.

    Returns:
        (..., 4, 4) float64.
    """
    poses, times = np.asarray(world_SE3_body, np.float64), np.asarray(times_us, np.float64)
    wanted = np.asarray(wanted_us, np.float64)
    if len(poses) == 1:
        return np.broadcast_to(poses[0], wanted.shape + (4, 4)).copy()
    left = np.clip(np.searchsorted(times, wanted, side="right") - 1, 0, len(times) - 2)
    share = ((wanted - times[left]) / np.maximum(times[left + 1] - times[left], 1e-9))[..., None]
    before, after = poses[left], poses[left + 1]
    result = before.copy()
    turn = rotation_vector(np.swapaxes(before[..., :3, :3], -1, -2) @ after[..., :3, :3])
    result[..., :3, :3] = before[..., :3, :3] @ rotation_from_vector(turn * share)
    result[..., :3, 3] += (after[..., :3, 3] - before[..., :3, 3]) * share
    return result


def rotation_vector(rotation: np.ndarray) -> np.ndarray:
    """Return axis times angle (..., 3) of rotations (..., 3, 3) of less than half a turn."""
    axis = np.stack(
        [
            rotation[..., 2, 1] - rotation[..., 1, 2],
            rotation[..., 0, 2] - rotation[..., 2, 0],
            rotation[..., 1, 0] - rotation[..., 0, 1],
        ],
        axis=-1,
    )
    sine = np.linalg.norm(axis, axis=-1, keepdims=True)
    angle = np.arctan2(sine, np.trace(rotation, axis1=-2, axis2=-1)[..., None] - 1.0)
    return axis * np.where(sine > 1e-12, angle / np.maximum(sine, 1e-12), 0.5)


def rotation_from_vector(vector: np.ndarray) -> np.ndarray:
    """Return the rotations (..., 3, 3) of axis-times-angle vectors (..., 3) in radians (Rodrigues' formula)."""
    angle = np.linalg.norm(vector, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(np.asarray(vector, np.float64), -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(x.shape + (3, 3))
    first = np.sinc(angle / np.pi)
    second = 0.5 * np.sinc(angle / (2.0 * np.pi)) ** 2
    return np.eye(3) + first * cross + second * (cross @ cross)


def pose_from_quaternion(wxyz: list[float], translation_m: list[float]) -> np.ndarray:
    """Return the (4, 4) pose of a quaternion (w, x, y, z; normalized here) and a translation."""
    return poses_from_quaternions(np.asarray([wxyz], np.float64), np.asarray([translation_m], np.float64))[0]


def poses_from_quaternions(wxyz: np.ndarray, translation_m: np.ndarray) -> np.ndarray:
    """Return the poses (N, 4, 4) of quaternions (N, 4), normalized here, and translations (N, 3)."""
    unit = np.asarray(wxyz, np.float64) / np.linalg.norm(wxyz, axis=1, keepdims=True)
    w, x, y, z = unit.T
    poses = np.tile(np.eye(4), (len(unit), 1, 1))
    poses[:, :3, :3] = np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
            np.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
            np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1),
        ],
        axis=1,
    )
    poses[:, :3, 3] = translation_m
    return poses


def quaternion_of(rotation: np.ndarray) -> np.ndarray:
    """Return the unit quaternions (..., 4) w, x, y, z with w >= 0 of rotations (..., 3, 3).

    Of four formulas for each, the one that divides by the largest component is taken.
    """
    r = np.asarray(rotation, np.float64)
    xx, yy, zz = r[..., 0, 0], r[..., 1, 1], r[..., 2, 2]
    a, b, c = r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1]
    d, e, f = r[..., 1, 0] + r[..., 0, 1], r[..., 0, 2] + r[..., 2, 0], r[..., 2, 1] + r[..., 1, 2]
    products = np.stack(  # row k holds 4 q_k q: of w, x, y, z
        [
            np.stack([1 + xx + yy + zz, a, b, c], -1),
            np.stack([a, 1 + xx - yy - zz, d, e], -1),
            np.stack([b, d, 1 - xx + yy - zz, f], -1),
            np.stack([c, e, f, 1 - xx - yy + zz], -1),
        ],
        axis=-2,
    )
    largest = np.argmax(np.diagonal(products, axis1=-2, axis2=-1), axis=-1)
    chosen = np.take_along_axis(products, largest[..., None, None], axis=-2)[..., 0, :]
    chosen = chosen / np.linalg.norm(chosen, axis=-1, keepdims=True)
    return np.where(chosen[..., :1] < 0, -chosen, chosen)
