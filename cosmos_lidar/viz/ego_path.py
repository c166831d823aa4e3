"""Ego path of a clip: the way of the vehicle from above, from the poses of its lidar or camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosmos_lidar.clips.clip import Clip

# A camera looks along z, x to the right; the axes of a vehicle are x forward, y left.
_CAMERA_SE3_FORWARD = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])


@dataclass(frozen=True)
class EgoPath:
    """Positions in the axes of the first pose.

    Attributes:
        xy_m: (N, 2) meters, forward and left of where the path starts, one per sweep or image.
        heading_rad: (N,) radians to the left of the heading at the start.
        source: the stream whose poses these are.
    """

    xy_m: np.ndarray
    heading_rad: np.ndarray
    source: str

    @property
    def length_m(self) -> float:
        """Way traveled, meters."""
        return float(np.linalg.norm(np.diff(self.xy_m, axis=0), axis=1).sum())


def ego_path(clip: Clip) -> EgoPath | None:
    """Return the path of the main lidar, of the first camera in a recording without; None where no poses are known."""
    if clip.lidars:
        poses = clip.world_SE3_lidar
        return None if poses is None or not len(poses) else _from_poses(poses[:, 0], f"lidar {clip.lidar.name}")
    for camera in list(clip.cameras.values())[:1]:
        if camera.world_SE3_camera is not None and len(camera):
            return _from_poses(camera.world_SE3_camera @ _CAMERA_SE3_FORWARD, f"camera {camera.name}")
    return None


def _from_poses(world_SE3_body: np.ndarray, source: str) -> EgoPath:
    poses = np.linalg.inv(world_SE3_body[0]) @ world_SE3_body
    return EgoPath(poses[:, :2, 3], np.arctan2(poses[:, 1, 0], poses[:, 0, 0]), source)
