"""A drive of KITTI-360 as a clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip, one_lidar_clip
from cosmos_lidar.clips.files import ImageFiles, PointSweeps, clean_id, image_size
from cosmos_lidar.clips.poses import interpolate_poses
from cosmos_lidar.clips.readers.kitti import files as text
from cosmos_lidar.clips.readers.kitti.scans import (
    LIDAR,
    around,
    fill_times,
    frame_numbers,
    image_files,
    scan_files,
    without_time,
)
from cosmos_lidar.clips.readers.kitti.track import with_times
from cosmos_lidar.clips.readers.kitti360.calibration import EGO_R_UNIT, Mounts, read_frame_poses, read_mounts
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.sensor import Sensor

_FOLDERS = {"image_00": "data_rect", "image_01": "data_rect", "image_02": "data_rgb", "image_03": "data_rgb"}
_CARRIED_ON_US = 100_000.0  # poses go on that long before the first and after the last one; then the vehicle stands


def open_drive(folder: Path, sensor: Sensor) -> Clip:
    """Return the clip of a drive; calibration, poses and images lie in the folders beside ``data_3d_raw``.

    Raises:
        DataError: no scan in it; calibration, poses or times that cannot be read or do not fit.
    """
    folder = folder.resolve()
    name, root, scans = clean_id(folder.name), folder.parent.parent, folder / "velodyne_points"
    files = scan_files(scans / "data", name)
    numbers = frame_numbers(files)
    times, notes = _times(scans / "timestamps.txt", numbers, sensor, name)
    middle = fill_times(times, numbers, sensor)
    ends = around(middle, sensor)
    mounts = read_mounts(root / "calibration", name)
    track = None
    if mounts is None:
        notes.append("no calibration/: no poses, no cameras")
    else:
        track = _track(root / "data_poses" / folder.name, mounts, numbers, middle, name, notes)
    cameras = {} if mounts is None else _cameras(root / "data_2d_raw" / folder.name, mounts, track, name, notes)
    read = PointSweeps(name, tuple(files), unusable=without_time(times, "timestamps.txt"))
    poses = None if track is None or mounts is None else track.at(ends) @ mounts.unit_SE3_lidar
    return one_lidar_clip(
        name, sensor, tuple(file.stem for file in files), ends, read, folder, "kitti360", poses, False,
        dict(cameras), tuple(notes), name=LIDAR,
        ego_SE3_lidar=None if mounts is None else EGO_R_UNIT @ mounts.unit_SE3_lidar,
    )  # fmt: skip


def _times(file: Path, numbers: np.ndarray, sensor: Sensor, clip: str) -> tuple[np.ndarray, list[str]]:
    """Return the middles of the scans (N,), and remarks."""
    if file.is_file():
        return text.clock_times_of(file, numbers, clip), []
    times = np.round((numbers + 0.5) * 1e6 / sensor.spin_hz).astype(np.int64)
    return times, ["no timestamps.txt: frame numbers at the usual rate"]


@dataclass(frozen=True)
class _Track:
    """Poses of the navigation unit over time."""

    world_SE3_unit: np.ndarray
    times_us: np.ndarray

    def at(self, wanted_us: np.ndarray) -> np.ndarray:
        """Return (..., 4, 4) the poses at these times."""
        low, high = self.times_us[0] - _CARRIED_ON_US, self.times_us[-1] + _CARRIED_ON_US
        return interpolate_poses(self.world_SE3_unit, self.times_us, np.clip(wanted_us, low, high))


def _track(
    folder: Path, mounts: Mounts, numbers: np.ndarray, middle_us: np.ndarray, clip: str, notes: list[str]
) -> _Track | None:
    """Return the poses of a drive at the times of their frames; None where there are none."""
    of_unit, of_camera = folder / "poses.txt", folder / "cam0_to_world.txt"
    if of_unit.is_file():
        file = of_unit
        frames, poses = read_frame_poses(file, 3, clip)
    elif of_camera.is_file():
        file = of_camera
        frames, poses = read_frame_poses(file, 4, clip)
        unit_SE3_rectified = mounts.unit_SE3_camera["image_00"] @ np.linalg.inv(mounts.rectify("image_00", clip))
        poses = poses @ np.linalg.inv(unit_SE3_rectified)
        notes.append("no poses.txt: poses are those of cam0_to_world.txt")
    else:
        notes.append("no data_poses/: no poses")
        return None
    found = np.isin(frames, numbers)  # the time of a pose is that of the scan of its frame
    if not found.any():
        problem = f"poses of frames {frames[0]} to {frames[-1]}, scans of {numbers[0]} to {numbers[-1]}"
        raise DataError(problem, file=file, clip=clip, wanted="poses of the frames whose scans are there")
    alone = len(numbers) - int(found.sum())
    if alone:
        notes.append(f"{alone} of {len(numbers)} scans have no pose of their own: the vehicle hardly moved")
    return _Track(poses[found], middle_us[np.searchsorted(numbers, frames[found])])


def _cameras(
    folder: Path, mounts: Mounts, track: _Track | None, clip: str, notes: list[str]
) -> Iterator[tuple[str, CameraStream]]:
    """Yield the cameras that have images and times, and note what is missing."""
    for name, below in _FOLDERS.items():
        images, clock = image_files(folder / name / below), folder / name / "timestamps.txt"
        if not images:
            continue
        if not clock.is_file():
            notes.append(f"{name}: left out, no timestamps.txt")
            continue
        images, times = with_times(images, text.clock_times_of(clock, frame_numbers(images), clip))
        if not images:
            continue
        unit_SE3_camera, lens = mounts.unit_SE3_camera[name], None
        if below == "data_rect":
            unit_SE3_camera = unit_SE3_camera @ np.linalg.inv(mounts.rectify(name, clip))
            lens, size = mounts.lens(name, clip), image_size(images[0])
            if size != (lens.width, lens.height):
                notes.append(f"{name}: images of {size[0]} x {size[1]}, calibrated at {lens.width} x {lens.height}")
                lens = lens.resized(*size)
        else:
            notes.append(f"{name}: no lens, its fisheye model is not read")
        poses = None if track is None else track.at(times) @ unit_SE3_camera
        mounting = np.linalg.inv(mounts.unit_SE3_lidar) @ unit_SE3_camera
        yield (
            name,
            CameraStream(
                name, times, ImageFiles(tuple(images), clip), lens, poses, mounting, EGO_R_UNIT @ unit_SE3_camera
            ),
        )
