"""Geometry of Waymo's sensors in this project's axes, and the points of range images.

A range image is what the lidar measured: row r has inclination r, the highest first, and column c of W looks along the
azimuth pi - (c + 0.5) / W * 2 pi - yaw, in axes of the lidar whose yaw on the vehicle is atan2(E[1, 0], E[0, 0]) of the
mounting E. Lidar axes are turned here by that yaw, so that x looks forward as far as the mounting allows and the middle
column does, too; the mounting is turned back by as much. Lidars without a list of inclinations have rows of equal
height between the lowest and the highest one. Source: ``range_image_utils.py`` of the published code.

Each pixel of TOP has its own pose, (roll, pitch, yaw, x, y, z) from vehicle to global axes: R = Rz(yaw) Ry(pitch)
Rx(roll). Range images without pixel poses are virtual: as seen from one moment, that of the pose of the frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from cosmos_lidar.clips.poses import interpolate_poses
from cosmos_lidar.sensors import ray_directions
from cosmos_lidar.sensors.sensor import RangeMapFormat, Sensor, load_sensor

LIDARS = {1: "TOP", 2: "FRONT", 3: "SIDE_LEFT", 4: "SIDE_RIGHT", 5: "REAR"}
CAMERAS = {1: "FRONT", 2: "FRONT_LEFT", 3: "FRONT_RIGHT", 4: "SIDE_LEFT", 5: "SIDE_RIGHT"}
TOP = 1
CLASS_NAMES = {
    0: "undefined", 1: "car", 2: "truck", 3: "bus", 4: "other vehicle", 5: "motorcyclist", 6: "bicyclist",
    7: "pedestrian", 8: "sign", 9: "traffic light", 10: "pole", 11: "construction cone", 12: "bicycle",
    13: "motorcycle", 14: "building", 15: "vegetation", 16: "tree trunk", 17: "curb", 18: "road", 19: "lane marker",
    20: "other ground", 21: "walkable", 22: "sidewalk",
}  # fmt: skip
_SHORT_RANGE = RangeMapFormat(min_range_m=0.5, max_range_m=20.0, pair_columns=1, repeat_rows=1, crop_columns=0)
BLOCK_ROWS = 4  # a block of a range image that stays in the cache
# Columns: right, down and forward of an image in the axes of Waymo's cameras, x forward, y left, z up.
_CAMERA_SE3_OPTICAL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


@dataclass(frozen=True, eq=False)
class LidarGeometry:
    """A lidar as its range images show it.

    Attributes:
        name: ``TOP``, ``FRONT``, ``SIDE_LEFT``, ``SIDE_RIGHT`` or ``REAR``.
        sensor: its beams.
        ego_SE3_lidar: (4, 4) mounting, of the axes that are turned forward.
    """

    name: str
    sensor: Sensor
    ego_SE3_lidar: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of its range images."""
        return self.sensor.shape


def lidar_geometry(
    number: int,
    inclinations: np.ndarray,
    limits: tuple[float, float],
    ego_SE3_laser: np.ndarray,
    shape: tuple[int, int],
) -> LidarGeometry:
    """Return the geometry of a lidar.

    Args:
        number: of the lidar.
        inclinations: (rows,) radians, rising; empty for rows of equal height.
        limits: lowest and highest inclination, radians.
        ego_SE3_laser: (4, 4) mounting as the dataset has it.
        shape: (rows, columns) of its range images.
    """
    rows, columns = shape
    if not len(inclinations):
        low, high = limits
        inclinations = low + (np.arange(rows) + 0.5) / rows * (high - low)
    elevations = np.ascontiguousarray(np.asarray(inclinations, np.float64)[::-1])
    yaw = np.arctan2(ego_SE3_laser[1, 0], ego_SE3_laser[0, 0])
    back = np.eye(4)
    back[:2, :2] = [[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]]
    if number == TOP:
        sensor = replace(load_sensor("waymo_top"), columns=columns, row_elevations_rad=elevations)
        sensor = replace(sensor, row_azimuth_offsets_rad=np.zeros(rows))
    else:
        slack = float(elevations[0] - elevations[-1]) / max(rows - 1, 1) / 2
        name = f"waymo_{LIDARS[number].lower()}"
        sensor = Sensor(name, elevations, np.zeros(rows), columns, max_range_m=25.0,
                        elevation_slack_rad=max(slack, 1e-4), format=_SHORT_RANGE)  # fmt: skip
    return LidarGeometry(LIDARS[number], sensor, ego_SE3_laser @ back)


def ego_from_optical(ego_SE3_camera: np.ndarray) -> np.ndarray:
    """Return (4, 4) image axes (x right, y down, z forward) to vehicle axes, of a mounting with x forward."""
    return ego_SE3_camera @ _CAMERA_SE3_OPTICAL


def poses_of(values: np.ndarray) -> np.ndarray:
    """Return (..., 4, 4) float64 poses of (..., 6) roll, pitch, yaw [rad], x, y, z [m]."""
    roll, pitch, yaw, *place = np.moveaxis(np.asarray(values, np.float64), -1, 0)
    (cr, cp, cy), (sr, sp, sy) = ([f(angle) for angle in (roll, pitch, yaw)] for f in (np.cos, np.sin))
    pose = np.zeros((*roll.shape, 4, 4))
    pose[..., 0, :3] = np.stack([cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr], -1)
    pose[..., 1, :3] = np.stack([sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr], -1)
    pose[..., 2, :3] = np.stack([-sp, cp * sr, cp * cr], -1)
    pose[..., :3, 3] = np.stack(place, -1)
    pose[..., 3, 3] = 1.0
    return pose


def sweep_ends(row: np.ndarray) -> np.ndarray | None:
    """Return (2, 4, 4) vehicle to world at the start and the end of a sweep.

    Args:
        row: (columns, 6) pixel poses of one row; pixels without a pose are all zero.

    Returns:
        The poses at the outer edges of the row, continued from the first and the last pixel that have one; None where
        none has.
    """
    known = np.flatnonzero((row != 0).any(1) & np.isfinite(row).all(1))
    if not len(known):
        return None
    ends = np.unique(known[[0, -1]])
    return interpolate_poses(poses_of(row[ends]), ends + 0.5, np.array([0.0, len(row)]))


def by_rows(image: np.ndarray) -> Iterator[np.ndarray]:
    """Yield an array (rows, …) by blocks of :data:`BLOCK_ROWS`."""
    for start in range(0, len(image), BLOCK_ROWS):
        yield image[start : start + BLOCK_ROWS]


def move_pixels(
    images: Sequence[np.ndarray], poses: Iterable[np.ndarray], geometry: LidarGeometry, world_SE3_lidar: np.ndarray
) -> list[np.ndarray]:
    """Return (N, 3) float32 points of each range image's pixels with a return, in the lidar's axes at one moment.

    Args:
        images: (rows, columns) float32 meters, 0 = no return: first and second returns.
        poses: blocks (some rows, columns, 6) float32 of pixel poses, vehicle to world, one after the other.
        geometry: the lidar.
        world_SE3_lidar: (4, 4) the lidar at that moment.
    """
    origin = world_SE3_lidar[:3, 3].astype(np.float32)  # differences of nearby float32 numbers are exact
    rest = (world_SE3_lidar[:3, 3] - origin).astype(np.float32)
    turn = np.ascontiguousarray(world_SE3_lidar[:3, :3].T, np.float32)
    made = [np.empty((int(np.count_nonzero(image > 0)), 3), np.float32) for image in images]
    filled, row = [0] * len(made), 0
    for block in poses:
        some = slice(row, row + len(block))
        pose = block.reshape(-1, 6)
        for number, image in enumerate(images):
            moved = _world_points(image[some], pose, some, geometry, (origin, rest))
            place = slice(filled[number], filled[number] + moved.shape[1])
            for axis, values in enumerate(np.matmul(turn, moved)):  # column by column is faster than by rows
                made[number][place, axis] = values
            filled[number] = place.stop
        row = some.stop
    return made


def _world_points(
    range_m: np.ndarray, pose: np.ndarray, rows: slice, geometry: LidarGeometry, origin: tuple[np.ndarray, ...]
) -> np.ndarray:
    """Return (3, N) points of some rows in axes of the world, from ``origin``, a sum, on."""
    distance, ray = range_m.reshape(-1), _vehicle_rays(geometry)[:, rows].reshape(3, -1)
    index = np.flatnonzero(distance > 0)
    sparse = len(index) < len(distance) // 2
    if sparse:  # second returns: picking pixels first costs less than moving all of them
        ray, pose, distance = ray.take(index, 1), pose.take(index, 0), distance.take(index)
    pose = np.ascontiguousarray(pose.T)
    looked_at = ray * distance
    looked_at += geometry.ego_SE3_lidar[:3, 3].astype(np.float32)[:, None]
    moved = pose[3:]
    for part in origin:
        moved -= part[:, None]
    for axis, values in enumerate(_turned(looked_at, pose[:3])):
        moved[axis] += values
    return moved if sparse or len(index) == len(distance) else moved.take(index, 1)


def _turned(points: np.ndarray, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x, y, z of Rz(yaw) Ry(pitch) Rx(roll) p, for points (3, N) and angles (3, N) roll, pitch, yaw."""
    x, y, z = points
    cosine, sine = np.cos(angles), np.sin(angles)
    y, z = cosine[0] * y - sine[0] * z, sine[0] * y + cosine[0] * z
    x, z = cosine[1] * x + sine[1] * z, cosine[1] * z - sine[1] * x
    return cosine[2] * x - sine[2] * y, sine[2] * x + cosine[2] * y, z


@lru_cache(maxsize=8)
def _vehicle_rays(geometry: LidarGeometry) -> np.ndarray:
    """Return (3, rows, columns) float32 unit rays in vehicle axes."""
    rays = ray_directions(geometry.sensor) @ geometry.ego_SE3_lidar[:3, :3].T
    return np.ascontiguousarray(np.moveaxis(rays, -1, 0).astype(np.float32))
