"""Drives of the raw recordings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip, one_lidar_clip
from cosmos_lidar.clips.files import PointSweeps, clean_id, image_size
from cosmos_lidar.clips.readers.kitti import files as text
from cosmos_lidar.clips.readers.kitti.scans import (
    LIDAR,
    MOST_CAMERAS,
    around,
    fill_times,
    frame_numbers,
    image_files,
    numbered_files,
    scan_files,
    without_time,
)
from cosmos_lidar.clips.readers.kitti.track import Track, by_name, make_camera, with_times, with_track
from cosmos_lidar.sensors.sensor import Sensor


def open_raw(folder: Path, sensor: Sensor) -> Clip:
    """Open a drive of the raw recordings; its calibration lies in the folder of the day, above it."""
    name, scans = clean_id(folder.resolve().name), folder / "velodyne_points"
    files = scan_files(scans / "data", name)
    numbers = frame_numbers(files)
    middle, ends, unusable, notes = _raw_times(scans, numbers, name, sensor)
    track = _raw_track(folder, name)
    # Only the synchronized drives (…_sync) have been motion compensated; the others (…_extract) are as measured.
    compensated = not name.endswith("_extract")
    frames, sweeps = tuple(file.stem for file in files), PointSweeps(name, tuple(files), unusable=unusable)
    clip = one_lidar_clip(name, sensor, frames, ends, sweeps, folder, "kitti",
                          motion_compensated=compensated, notes=notes, name=LIDAR)  # fmt: skip
    if compensated or track is None:
        clip = with_track(clip, track, middle, "no poses: oxts or calib_imu_to_velo.txt is missing")
    else:
        clip = clip.with_lidar(world_SE3_lidar=track.at(ends))
    return replace(clip, cameras=by_name(_raw_cameras(folder, name, track, rectified=compensated)))


def _raw_times(
    scans: Path, numbers: np.ndarray, name: str, sensor: Sensor
) -> tuple[np.ndarray, np.ndarray, tuple[tuple[int, str], ...], tuple[str, ...]]:
    """Return middles (N,), starts and ends (N, 2), (sweep, why) of sweeps without a time, and remarks."""
    files = [scans / f"timestamps{part}.txt" for part in ("", "_start", "_end")]
    if not all(file.is_file() for file in files):
        middle = (numbers + 0.5) * (1e6 / sensor.spin_hz)
        return middle, around(middle, sensor), (), ("no timestamps*.txt: frame numbers at the usual rate",)
    times = np.stack([text.clock_times_of(file, numbers, name) for file in files])
    empty = (times == text.NO_TIME).any(0)
    times[:, empty] = text.NO_TIME
    unusable = without_time(times[0], "timestamps.txt, timestamps_start.txt or timestamps_end.txt")
    middle, start, end = (fill_times(one, numbers, sensor) for one in times)
    return middle, np.stack([start, end], -1), unusable, ()


def _raw_track(folder: Path, name: str) -> Track | None:
    files = numbered_files(folder / "oxts" / "data", "*.txt")
    calibration = folder.parent / "calib_imu_to_velo.txt"
    clock = folder / "oxts" / "timestamps.txt"
    if not files or not calibration.is_file() or not clock.is_file():
        return None
    lidar_SE3_unit = text.calibration_pose(text.read_calibration(calibration, name), ("R",), calibration, name, "T")
    files, times = with_times(files, text.clock_times_of(clock, frame_numbers(files), name))
    if not files:
        return None
    return Track(text.read_navigation(files, name) @ np.linalg.inv(lidar_SE3_unit), times)


def _raw_cameras(folder: Path, name: str, track: Track | None, rectified: bool) -> Iterator[CameraStream]:
    lidar_file, camera_file = folder.parent / "calib_velo_to_cam.txt", folder.parent / "calib_cam_to_cam.txt"
    if not lidar_file.is_file() or not camera_file.is_file():
        return
    mount = text.calibration_pose(text.read_calibration(lidar_file, name), ("R",), lidar_file, name, "T")
    rows = text.read_calibration(camera_file, name)
    rectify = text.calibration_pose(rows, ("R_rect_00",), camera_file, name)
    for number in (f"{index:02d}" for index in range(MOST_CAMERAS)):
        camera = f"image_{number}"
        images, clock = image_files(folder / camera / "data"), folder / camera / "timestamps.txt"
        if not images or not clock.is_file():
            continue
        size = image_size(images[0])
        seen = None if rectified else text.raw_camera(rows, number, size, camera_file, name)
        if seen is None:
            lens, shift = text.split_projection(rows, f"P_rect_{number}", size, camera_file, name)
            seen = lens, shift @ rectify
        images, times = with_times(images, text.clock_times_of(clock, frame_numbers(images), name))
        if images:
            yield make_camera(camera, images, seen[0], seen[1] @ mount, times, track, name)
