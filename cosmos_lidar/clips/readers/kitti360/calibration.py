"""The files below ``calibration/`` of KITTI-360, and those of poses by frame number."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.readers.kitti import files as text
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.pinhole import PinholeCamera
from cosmos_lidar.sensors.rigid import rigid

# Axes of the navigation unit (x forward, y right, z down) to x forward, y left, z up.
EGO_R_UNIT = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Mounts:
    """Where lidar and cameras are on the vehicle.

    Attributes:
        folder: ``calibration/``.
        unit_SE3_lidar: (4, 4) lidar axes to those of the navigation unit.
        unit_SE3_camera: by the name of the camera, axes of the camera before rectification.
        lidar_SE3_camera0: (4, 4) of camera 0 before rectification.
    """

    folder: Path
    unit_SE3_lidar: np.ndarray
    unit_SE3_camera: dict[str, np.ndarray]
    lidar_SE3_camera0: np.ndarray

    def perspective(self, camera: str, clip: str) -> tuple[dict[str, np.ndarray], str, Path]:
        """Return the rows of ``perspective.txt``, the number of a camera as they have it, and the file."""
        file = self.folder / "perspective.txt"
        return text.read_calibration(file, clip), camera.rpartition("_")[2], file

    def rectify(self, camera: str, clip: str) -> np.ndarray:
        """Return the (4, 4) rotation from a camera to its rectified images."""
        rows, number, file = self.perspective(camera, clip)
        return text.calibration_pose(rows, (f"R_rect_{number}",), file, clip)

    def lens(self, camera: str, clip: str) -> PinholeCamera:
        """Return the lens of rectified images, of the size for which it is calibrated."""
        rows, number, file = self.perspective(camera, clip)
        width, height = text.calibration_row(rows, (f"S_rect_{number}",), 2, file, clip)
        return text.split_projection(rows, f"P_rect_{number}", (int(width), int(height)), file, clip)[0]


def read_mounts(folder: Path, clip: str) -> Mounts | None:
    """Return the mountings; None where there is no folder of calibration files.

    Raises:
        DataError: a file is missing or broken.
    """
    if not folder.is_dir():
        return None
    file = folder / "calib_cam_to_velo.txt"
    lidar_SE3_camera0 = _pose(text.text_of(file, clip), file, clip)
    file = folder / "calib_cam_to_pose.txt"
    rows = text.read_calibration(file, clip)
    cameras = {}
    for number in range(4):
        name = f"image_{number:02d}"
        values = text.calibration_row(rows, (name,), 12, file, clip)
        cameras[name] = _pose(" ".join(map(str, values)), file, clip, name)
    unit_SE3_lidar = cameras["image_00"] @ np.linalg.inv(lidar_SE3_camera0)
    return Mounts(folder, unit_SE3_lidar, cameras, lidar_SE3_camera0)


def _pose(content: str, file: Path, clip: str, key: str | None = None) -> np.ndarray:
    wanted = "a rigid motion of 3 x 4 numbers"
    try:
        values = np.array([float(value) for value in content.split()])
    except ValueError as error:
        raise DataError(f"not readable: {error}", file=file, clip=clip, key=key, wanted=wanted) from error
    if len(values) != 12:
        raise DataError(f"{len(values)} numbers", file=file, clip=clip, key=key, wanted=wanted)
    pose = np.eye(4)
    pose[:3] = values.reshape(3, 4)
    if not rigid(pose):
        raise DataError("no rigid motion", file=file, clip=clip, key=key, wanted=wanted)
    return pose


def read_frame_poses(file: Path, rows: int, clip: str) -> tuple[np.ndarray, np.ndarray]:
    """Return frame numbers (N,), increasing, and poses (N, 4, 4) of a file of lines ``frame`` and a matrix.

    Args:
        file: ``poses.txt`` or ``cam0_to_world.txt``.
        rows: of the matrix of each line, 3 or 4 times 4 numbers.
        clip: for messages.

    Raises:
        DataError: no pose in it, or a line that is none, or frames out of order.
    """
    wanted = f"lines of a frame number and {rows} x 4 numbers, a rigid motion, frames increasing"
    frames: list[int] = []
    poses: list[np.ndarray] = []
    for number, line in enumerate(text.text_of(file, clip).splitlines(), 1):
        if not line.strip():
            continue
        try:
            values = np.array([float(value) for value in line.split()])
            if len(values) != 1 + 4 * rows or not 0 <= values[0] < 1e9 or values[0] % 1:
                raise ValueError(f"{len(values)} numbers")
        except ValueError as error:
            problem = f"not readable: {error}"
            raise DataError(problem, file=file, clip=clip, key=f"line {number}", wanted=wanted) from error
        pose = np.eye(4)
        pose[:rows] = values[1:].reshape(rows, 4)
        if not rigid(pose) or (frames and values[0] <= frames[-1]):
            problem = "frames out of order" if rigid(pose) else "no rigid motion"
            raise DataError(problem, file=file, clip=clip, key=f"line {number}", wanted=wanted)
        frames.append(int(values[0]))
        poses.append(pose)
    if not frames:
        raise DataError("no pose in it", file=file, clip=clip, wanted=wanted)
    return np.array(frames), np.stack(poses)
