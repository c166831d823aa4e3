"""Odometry and SemanticKITTI sequences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip
from cosmos_lidar.clips.files import PointSweeps, clean_id, image_size
from cosmos_lidar.clips.readers.kitti import files as text
from cosmos_lidar.clips.readers.kitti.scans import (
    MOST_CAMERAS,
    around,
    fill_times,
    frame_numbers,
    image_files,
    open_bare,
    scan_files,
    without_time,
)
from cosmos_lidar.clips.readers.kitti.track import Track, by_name, make_camera, with_times, with_track
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.sensor import Sensor


def open_sequence(folder: Path, sensor: Sensor, format: str = "kitti", compensated: bool = True) -> Clip:
    """Open an odometry or SemanticKITTI sequence.

    Args:
        folder: of the sequence.
        sensor: of the scans.
        format: of the clip; for ``kitti`` alone, poses beside the sequences go before those in the sequence.
        compensated: points have been moved to the middle of their sweep; False: they are as measured.

    Raises:
        DataError: no scan in it; calibration, poses or times that cannot be read or do not fit.
    """
    name = clean_id(folder.resolve().name)
    clip = open_bare(folder / "velodyne", sensor)
    files = scan_files(folder / "velodyne", name)
    numbers = frame_numbers(files)
    labels = tuple(_if_there(folder / "labels" / f"{file.stem}.label") for file in files)
    all_times, notes = _sequence_times(folder, name, int(numbers.max()) + 1, sensor)
    unusable = without_time(all_times[numbers], "times.txt")
    sweeps = PointSweeps(name, tuple(files), labels=labels if any(labels) else None, unusable=unusable)
    middle = fill_times(all_times[numbers], numbers, sensor)
    clip = replace(clip, clip_id=name, source=folder, notes=notes, format=format)
    clip = clip.with_lidar(read=sweeps, timestamps_us=around(middle, sensor))
    calibration = folder / "calib.txt"
    rows = text.read_calibration(calibration, name) if calibration.is_file() else None
    track = None
    if rows is None:
        clip = replace(clip, notes=(*clip.notes, "no calib.txt: no cameras"))
    else:
        camera_SE3_lidar = text.calibration_pose(rows, ("Tr", "Tr_velo_to_cam"), calibration, name)
        places = [folder.parent.parent / "poses" / f"{folder.name}.txt", folder / "poses.txt"]
        if format != "kitti":
            places.reverse()
        track = _sequence_track(places, name, all_times, camera_SE3_lidar)
    missing = "no poses" if rows is not None else "no poses without calib.txt"
    if compensated or track is None:
        clip = with_track(clip.with_lidar(motion_compensated=compensated), track, middle, missing)
    else:
        clip = clip.with_lidar(world_SE3_lidar=track.at(clip.timestamps_us), motion_compensated=False)
    if rows is None:
        return clip
    return replace(clip, cameras=by_name(_sequence_cameras(folder, name, rows, camera_SE3_lidar, all_times, track)))


def _if_there(file: Path) -> Path | None:
    return file if file.is_file() else None


def _sequence_times(folder: Path, name: str, count: int, sensor: Sensor) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the time of every frame number below ``count`` (or more)."""
    file = folder / "times.txt"
    if not file.is_file():
        times = np.round((np.arange(count) + 0.5) * 1e6 / sensor.spin_hz).astype(np.int64)
        return times, ("no times.txt: frame numbers at the usual rate",)
    times = text.read_times_s(file, name)
    if len(times) < count:
        raise DataError(
            f"{len(times)} times for frame numbers up to {count - 1}", file=file, clip=name, wanted="one per frame"
        )
    return times, ()


def _sequence_track(places: list[Path], name: str, times: np.ndarray, camera_SE3_lidar: np.ndarray) -> Track | None:
    """Return the poses of the lidar; the file has those of the left camera, turned here into the axes of the lidar."""
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        return None
    poses = text.read_poses(file, name)
    while len(poses) > len(times) and np.isnan(poses[-1]).any():
        poses = poses[:-1]  # an empty line at the end
    if len(poses) > len(times) or len(poses) < len(times) - 1:
        raise DataError(
            f"{len(poses)} poses for {len(times)} frames", file=file, clip=name, wanted="one line per frame"
        )
    times = times[: len(poses)]
    known = np.isfinite(poses).all((1, 2)) & (times != text.NO_TIME)
    return Track(np.linalg.inv(camera_SE3_lidar) @ poses[known] @ camera_SE3_lidar, times[known])


def _sequence_cameras(
    folder: Path, name: str, rows: dict, camera0_SE3_lidar: np.ndarray, times: np.ndarray, track: Track | None
) -> Iterator[CameraStream]:
    for index in range(MOST_CAMERAS):
        images, calibration = image_files(folder / f"image_{index}"), folder / "calib.txt"
        if not images:
            continue
        lens, shift = text.split_projection(rows, f"P{index}", image_size(images[0]), calibration, name)
        numbers = frame_numbers(images)
        timed = [image for image, number in zip(images, numbers, strict=True) if number < len(times)]
        timed, moments = with_times(timed, times[numbers[numbers < len(times)]])
        if timed:
            yield make_camera(f"image_{index}", timed, lens, shift @ camera0_SE3_lidar, moments, track, name)
