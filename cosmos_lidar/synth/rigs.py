"""Cameras and further lidars on the ego vehicle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosmos_lidar.errors import UserError
from cosmos_lidar.sensors.ftheta import FThetaCamera
from cosmos_lidar.sensors.pinhole import PinholeCamera
from cosmos_lidar.sensors.sensor import Sensor

# Published example intrinsics of the three views of the release, at 1920 x 1080.
_FTHETA = {
    "camera_front_wide_120fov": [954.2063, 757.15415, 1920, 1080, 0, 0.00105758628, 8.2116208e-09, -3.3945008e-11,
                                 8.0734208e-14, -2.94602496e-17, 1],
    "camera_rear_left_70fov": [933.82935, 557.2074, 1920, 1080, 0,
                               1571.27855, 96.98752, -255.40837, 150.845965, 97.98543, 0],
    "camera_rear_right_70fov": [968.8991, 553.86615, 1920, 1080, 0,
                                1564.0829, 100.93601, -264.07915, 149.67691, 100.501725, 0],
}  # fmt: skip
# Where they sit on the vehicle: position (meters: forward, left, up), yaw (degrees, left), pitch (degrees, down).
_MOUNTS = {
    "front": ("camera_front_wide_120fov", (1.75, 0.0, 1.45), 0.0, 0.0),
    "left": ("camera_rear_left_70fov", (2.2, 0.95, 0.95), 150.0, 0.0),
    "right": ("camera_rear_right_70fov", (2.2, -0.95, 0.95), -150.0, 0.0),
}
# Five cameras around the front, from left to right; directions to within a few degrees of Waymo's.
_SURROUND = (
    ("pinhole_side_left", (1.40, 0.12, 2.1), 90.0),
    ("pinhole_front_left", (1.50, 0.10, 2.1), 45.0),
    ("pinhole_front", (1.54, 0.0, 2.1), 0.0),
    ("pinhole_front_right", (1.50, -0.10, 2.1), -45.0),
    ("pinhole_side_right", (1.40, -0.12, 2.1), -90.0),
)


@dataclass(frozen=True)
class RigCamera:
    """One camera of a vehicle.

    Attributes:
        name: as its folder is named, such as ``camera_front_wide_120fov``.
        model: the lens.
        vehicle_SE3_camera: (4, 4); vehicle axes x forward, y left, z up from the ground below the lidar.
    """

    name: str
    model: FThetaCamera | PinholeCamera
    vehicle_SE3_camera: np.ndarray


@dataclass(frozen=True)
class RigLidar:
    """One lidar of a vehicle beside the one on its roof.

    Attributes:
        name: of the lidar.
        sensor: its beams and its rate.
        vehicle_SE3_lidar: (4, 4); vehicle axes x forward, y left, z up from the ground below the lidar on the roof.
    """

    name: str
    sensor: Sensor
    vehicle_SE3_lidar: np.ndarray


def bumper_lidar(sensor: Sensor, name: str = "bumper") -> RigLidar:
    """Return a lidar on the front bumper, 0.7 m above the road."""
    pose = np.eye(4)
    pose[:3, 3] = 3.4, 0.0, 0.7
    return RigLidar(name, sensor, pose)


def mount(position_m: tuple[float, float, float], yaw_deg: float, pitch_down_deg: float = 0.0) -> np.ndarray:
    """Return vehicle_SE3_camera (4, 4) of a camera looking along ``yaw_deg`` (to the left of forward), tilted down."""
    yaw, pitch = np.radians(yaw_deg), np.radians(pitch_down_deg)
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    pose = np.eye(4)
    pose[:3, :3] = np.stack((right, np.cross(forward, right), forward), 1)
    pose[:3, 3] = position_m
    return pose


def ftheta_rig(views: tuple[str, ...] = ("front", "left", "right"), width: int = 1920) -> tuple[RigCamera, ...]:
    """Return the published layout's cameras ``front``, ``left`` and ``right`` (rear views), images ``width`` wide.

    Raises:
        UserError: an unknown view.
    """
    height = round(width * 1080 / 1920 / 2) * 2
    cameras = []
    for view in views:
        name, position, yaw, pitch = _mount_of(view)
        lens = FThetaCamera.from_vector(np.array(_FTHETA[name]))
        cameras.append(
            RigCamera(name, lens if width == 1920 else lens.resized(width, height), mount(position, yaw, pitch))
        )
    return tuple(cameras)


def pinhole_rig(
    views: tuple[str, ...] = ("front", "left", "right"), width: int = 960, height: int = 0, fov_deg: float = 80.0
) -> tuple[RigCamera, ...]:
    """Return pinhole cameras at the places of :func:`ftheta_rig`; a height of 0 makes the images 16:9.

    Raises:
        UserError: an unknown view.
    """
    lens = _pinhole(width, height, fov_deg)
    return tuple(RigCamera(f"camera_{view}", lens, mount(*_mount_of(view)[1:])) for view in views)


def surround_rig(width: int = 960, height: int = 0, fov_deg: float = 60.0) -> tuple[RigCamera, ...]:
    """Return five pinhole cameras with names, order and directions of Waymo's, as the multi-view guide has them.

    Args:
        width: of the images.
        height: of the images; 0 makes them 16:9.
        fov_deg: horizontal field of view; neighbors overlap from 45 degrees on.
    """
    lens = _pinhole(width, height, fov_deg)
    return tuple(RigCamera(name, lens, mount(position, yaw)) for name, position, yaw in _SURROUND)


def _pinhole(width: int, height: int, fov_deg: float) -> PinholeCamera:
    return PinholeCamera.from_fov(width, height or round(width * 9 / 16 / 2) * 2, np.radians(fov_deg))


def _mount_of(view: str) -> tuple[str, tuple[float, float, float], float, float]:
    if view not in _MOUNTS:
        raise UserError(f"unknown camera {view!r}: there are {', '.join(_MOUNTS)}")
    return _MOUNTS[view]
