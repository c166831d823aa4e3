"""What the KITTI layouts share: scans of four float32, rows of calibration files, cameras by number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.blocks import blocks
from cosmos_lidar.clips.clip import CameraStream, Clip, LidarStream
from cosmos_lidar.clips.readers.kitti.scans import MOST_CAMERAS
from cosmos_lidar.clips.sweep import Sweep, to_points
from cosmos_lidar.clips.writers._contract import Losses
from cosmos_lidar.clips.writers._motion import mounting_of
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.pinhole import PinholeCamera

# Axes of the lidar (x forward, y left, z up) to those of a camera (x right, y down, z forward).
CAMERA_R_LIDAR = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
_FIRST_COLOR = 2  # image_0 and image_1 are gray in KITTI
_PARALLEL = 1e-9


@dataclass(frozen=True)
class NumberedCamera:
    """A camera with its place in the layout.

    Attributes:
        number: of ``image_N``.
        stream: the camera.
        model: its lens.
        camera_SE3_lidar: (4, 4) lidar axes to camera axes.
    """

    number: int
    stream: CameraStream
    model: PinholeCamera
    camera_SE3_lidar: np.ndarray


def numbered_cameras(clip: Clip, losses: Losses) -> list[NumberedCamera]:
    """Return the cameras that a calibration file of KITTI can hold, from ``image_2`` on, in the order of the clip.

    Names that are KITTI's own (``image_02``, ``image_2``) give the numbers, where all cameras have such. Cameras
    without images are left out; so are those without a pinhole lens, without mounting, and those beyond what the
    reader looks for, which is noted.
    """
    found = []
    for name, stream in clip.cameras.items():
        mounting = mounting_of(stream, clip.lidar) if len(stream) else None
        if mounting is not None and isinstance(stream.model, PinholeCamera):
            found.append((name, stream, stream.model, np.linalg.inv(mounting)))
        elif len(stream):
            losses.add("images", f"{name} and others: cameras without pinhole lens or mounting are left out")
    numbers = [_own_number(name) for name, *_ in found]
    if None in numbers or len(set(numbers)) < len(numbers):
        numbers = list(range(_FIRST_COLOR, _FIRST_COLOR + len(found)))
    cameras = [NumberedCamera(n or 0, *one[1:]) for n, one in zip(numbers, found, strict=True)]
    if len(cameras) > MOST_CAMERAS - _FIRST_COLOR:
        losses.add("images", f"cameras after the first {MOST_CAMERAS - _FIRST_COLOR} are left out")
    return [camera for camera in cameras if camera.number < MOST_CAMERAS]


def _own_number(name: str) -> int | None:
    number = name.removeprefix("image_")
    return int(number) if number != name and number.isdecimal() and int(number) < MOST_CAMERAS else None


def first_camera(cameras: list[NumberedCamera]) -> np.ndarray:
    """Return camera_SE3_lidar (4, 4) of the axes that calibration counts from: of the camera with the lowest number.

    Without cameras they are those of a camera that looks forward from the lidar's own place.
    """
    if cameras:
        return min(cameras, key=lambda one: one.number).camera_SE3_lidar
    pose = np.eye(4)
    pose[:3, :3] = CAMERA_R_LIDAR
    return pose


def relative(camera: NumberedCamera, first_SE3_lidar: np.ndarray) -> np.ndarray:
    """Return camera_SE3_first (4, 4), the rotation exactly the identity where both look along the same axes."""
    pose = camera.camera_SE3_lidar @ np.linalg.inv(first_SE3_lidar)
    if np.abs(pose[:3, :3] - np.eye(3)).max() < _PARALLEL:
        pose[:3, :3] = np.eye(3)
    return pose


def projection(camera: NumberedCamera, first_SE3_lidar: np.ndarray) -> np.ndarray:
    """Return ``K [R | t]`` (3, 4), which projects points in the axes of the first camera."""
    return camera.model.matrix @ relative(camera, first_SE3_lidar)[:3]


def row(name: str, values: np.ndarray | Iterable[float]) -> str:
    """Return a line ``name: numbers`` of a calibration file; the numbers are read back exactly."""
    return f"{name}: {' '.join(repr(float(value)) for value in np.ravel(np.asarray(values)))}\n"


def write_scan(file: Path, cloud: Sweep, clip: Clip, frame: str) -> None:
    """Write points as float32 x y z reflectance, the intensity in the units of the dataset.

    Raises:
        DataError: the sweep has no intensity.
    """
    if cloud.intensity is None:
        wanted = "sweeps with intensity: points of KITTI are x y z reflectance"
        raise DataError("no intensity", file=clip.source, clip=clip.clip_id, key=f"frame {frame}", wanted=wanted)
    points = np.zeros((0, 3), np.float32) if cloud.points is None else cloud.points
    with file.open("wb") as out:
        for part in blocks(len(points)):
            rows = np.concatenate([points[part], cloud.intensity[part, None]], axis=1)
            out.write(rows.astype("<f4", copy=False).data)


def note_sweep(losses: Losses, lidar: LidarStream, index: int) -> tuple[Sweep, bool]:
    """Return sweep ``index`` as points of all returns, after noting what of it the layout lacks.

    And whether the points are made here, and may be overwritten.
    """
    sweep = losses.see(lidar.read(index))
    cloud = to_points(sweep, lidar.sensor)
    if sweep.second_return is not None or (cloud.returns is not None and (cloud.returns > 1).any()):
        losses.add("returns", "second returns are points like the first ones")
    if cloud.points is None or not len(cloud.points):
        losses.add("points", "sweeps without a return are files of 0 bytes, which the reader refuses as damaged")
    return cloud, cloud.points is not sweep.points


def note_frames(losses: Losses, lidar: LidarStream, names: list[str]) -> None:
    """Note frame names that are not those of the files."""
    if list(lidar.frame_ids) != names:
        losses.add("frame_ids", "replaced by numbers")
