"""Records of a log (times, poses, cameras), the same for databases and frames of NAVSIM."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.clips.poses import pose_from_quaternion
from cosmos_lidar.clips.trajectory import Trajectory
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.pinhole import PinholeCamera
from cosmos_lidar.sensors.rigid import rigid


@dataclass(frozen=True)
class CameraRecords:
    """A camera.

    Attributes:
        ego_SE3_camera: (4, 4) mounting.
        lens: intrinsic matrix (3, 3) and distortion k1 k2 p1 p2 k3.
        size: (width, height) of the calibration; None where only the images have it.
        images: (microseconds, name of the file), in the order of time.
    """

    ego_SE3_camera: np.ndarray
    lens: tuple[np.ndarray, np.ndarray]
    size: tuple[int, int] | None
    images: list[tuple[int, str]]

    def model(self, size: tuple[int, int]) -> PinholeCamera:
        """Return the lens, for images of (width, height)."""
        matrix, distortion = self.lens
        bent = tuple(distortion.tolist()) if distortion.any() else ()
        of = self.size or size
        lens = PinholeCamera(matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], *of, distortion=bent)
        return lens if of == size else lens.resized(*size)


@dataclass(frozen=True)
class LogRecords:
    """A log.

    Attributes:
        clouds: (microseconds, name of the file), in the order of time.
        ego_SE3_cloud: (4, 4) axes of the clouds to those of the vehicle.
        track: of the vehicle.
        cameras: by channel.
        notes: remarks.
    """

    clouds: list[tuple[int, str]]
    ego_SE3_cloud: np.ndarray
    track: Trajectory
    cameras: dict[str, CameraRecords]
    notes: tuple[str, ...] = ()


def numbers(value: Any, shape: tuple[int, ...], file: Path, clip: str, key: str) -> np.ndarray:
    """Return finite numbers of a shape as float64.

    Raises:
        DataError: anything else.
    """
    try:
        found = np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{error!s:.80}", file=file, clip=clip, key=key, wanted=f"numbers {shape}") from error
    if found.shape != shape or not np.isfinite(found).all():
        problem = f"shape {found.shape}" if found.shape != shape else "not finite"
        raise DataError(problem, file=file, clip=clip, key=key, wanted=f"finite numbers {shape}")
    return found


def five(distortion: Any, file: Path, clip: str, key: str) -> np.ndarray:
    """Return k1 k2 p1 p2 k3 (5,) of coefficients of which the last may be missing; zeros of None."""
    given = [] if distortion is None else np.ravel(distortion).tolist()
    found = numbers(given[:5], (len(given[:5]),), file, clip, f"{key}, distortion")
    if any(given[5:]):
        wanted = "k1 k2 p1 p2 k3"
        raise DataError(f"{len(given)} coefficients", file=file, clip=clip, key=f"{key}, distortion", wanted=wanted)
    return np.pad(found, (0, 5 - len(found)))


def mounting(rotation: Any, translation: Any, file: Path, clip: str, key: str) -> np.ndarray:
    """Return the pose (4, 4) of a rotation, a quaternion w x y z or a matrix, and a translation.

    Raises:
        DataError: no unit quaternion, no rotation, or no numbers.
    """
    shape = (3, 3) if len(np.ravel(rotation)) == 9 else (4,)
    turn, place = numbers(rotation, shape, file, clip, f"{key}, rotation"), numbers(translation, (3,), file, clip, key)
    if shape == (4,):
        if abs(np.linalg.norm(turn) - 1.0) > 0.01:
            wanted = "a unit quaternion w x y z"
            raise DataError("no unit quaternion", file=file, clip=clip, key=f"{key}, rotation", wanted=wanted)
        return pose_from_quaternion(turn.tolist(), place.tolist())
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn, place
    if not rigid(pose):
        raise DataError("no rotation", file=file, clip=clip, key=f"{key}, rotation", wanted="a right-handed rotation")
    return pose


def track_of(
    times_us: np.ndarray, world_SE3_ego: np.ndarray, file: Path, clip: str, order: int = 1
) -> tuple[Trajectory, tuple[str, ...]]:
    """Return the track of a vehicle, its world moved near the vehicle, and a remark about that.

    Coordinates of a map (UTM) lose centimeters wherever they are turned into float32.

    Raises:
        DataError: no poses, times that do not increase, no rigid motion.
    """
    if not len(times_us):
        raise DataError("no pose in it", file=file, clip=clip, key="ego_pose", wanted="poses of the vehicle")
    origin = np.floor(world_SE3_ego[0, :3, 3])
    near = world_SE3_ego.copy()
    near[:, :3, 3] -= origin
    try:
        track = Trajectory(near, times_us, order)
    except DataError as error:
        raise error.at(file=file, clip=clip, key="ego_pose") from error
    place = ", ".join(f"{value:.0f}" for value in origin)
    return track, (f"coordinates of a map, less {place}",) if origin.any() else ()
