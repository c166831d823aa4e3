"""Rigid poses: validation, and poses read from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cosmos_lidar.errors import DataError


def rigid(poses: np.ndarray, tolerance: float = 1e-3) -> np.ndarray:
    """Return (...) bool: which matrices (..., 4, 4) are finite, orthonormal, right-handed, with last row 0 0 0 1."""
    poses = np.asarray(poses, np.float64)
    good = np.isfinite(poses).all((-1, -2))
    safe = np.where(good[..., None, None], poses, np.eye(4))
    rotation = safe[..., :3, :3]
    square = np.abs(rotation @ np.swapaxes(rotation, -1, -2) - np.eye(3)).max((-1, -2)) < tolerance
    last = np.abs(safe[..., 3, :] - np.array([0.0, 0.0, 0.0, 1.0])).max(-1) < tolerance
    return good & square & last & (np.linalg.det(rotation) > 0)


def pose_of_file(value: object, file: str | Path, key: str, axes: str, what: str = "") -> np.ndarray:
    """Return the (4, 4) float64 pose that a file gives as four rows of four numbers.

    Args:
        value: as read from the file.
        file: that holds it.
        key: of the entry.
        axes: source and target axes, for the error message.
        what: the posed object, for the error message.

    Raises:
        DataError: no numbers, another shape, or no rigid motion.
    """
    wanted, start = f"a rigid 4 x 4 pose, {axes}", f"{what}: " if what else ""
    try:
        pose = np.array(value, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{start}{error}", file=file, key=key, wanted=wanted) from error
    if pose.shape != (4, 4) or not rigid(pose):
        problem = f"shape {pose.shape}" if pose.shape != (4, 4) else "no rigid motion"
        raise DataError(start + problem, file=file, key=key, wanted=wanted)
    return pose
