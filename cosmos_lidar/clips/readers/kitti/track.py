"""Poses of the lidar over time, and the clips and cameras that they make."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip
from cosmos_lidar.clips.files import ImageFiles, PointSweeps
from cosmos_lidar.clips.poses import interpolate_poses
from cosmos_lidar.clips.readers.kitti import files as text
from cosmos_lidar.sensors.pinhole import PinholeCamera


@dataclass(frozen=True)
class Track:
    """Poses of the lidar at known times, and what they make of a clip."""

    world_SE3_lidar: np.ndarray
    times_us: np.ndarray

    def at(self, wanted_us: np.ndarray) -> np.ndarray:
        """Return (..., 4, 4) the poses at these times."""
        order = np.argsort(self.times_us, kind="stable")
        return interpolate_poses(self.world_SE3_lidar[order], self.times_us[order], wanted_us)


def with_track(clip: Clip, track: Track | None, middle_us: np.ndarray, missing: str) -> Clip:
    """Return ``clip`` with poses at start and end of its sweeps, and its points moved from the middle to the start."""
    if track is None:
        return replace(clip, notes=(*clip.notes, missing))
    ends, read = track.at(clip.timestamps_us), clip.read_sweep
    if not isinstance(read, PointSweeps):
        raise TypeError(f"expected PointSweeps, got {type(read).__name__}")
    sweeps = replace(read, reference_SE3_points=np.linalg.inv(ends[:, 0]) @ track.at(middle_us))
    return clip.with_lidar(world_SE3_lidar=ends, read=sweeps)


def with_times(images: list[Path], times_us: np.ndarray) -> tuple[list[Path], np.ndarray]:
    """Return the images that have a time, and their times (M,): an image without one cannot be placed."""
    known = times_us != text.NO_TIME
    return [image for image, there in zip(images, known, strict=True) if there], times_us[known]


def by_name(cameras: Iterator[CameraStream]) -> dict[str, CameraStream]:
    """Return cameras by their names."""
    return {camera.name: camera for camera in cameras}


def make_camera(
    camera: str,
    images: list[Path],
    lens: PinholeCamera,
    camera_SE3_lidar: np.ndarray,
    times_us: np.ndarray,
    track: Track | None,
    clip: str,
) -> CameraStream:
    """Return a rectified camera.

    Args:
        camera: its name.
        images: its files, in the order of time.
        lens: of the rectified images.
        camera_SE3_lidar: (4, 4) lidar axes to axes of the camera.
        times_us: (M,) times of the images.
        track: poses of the lidar, or None.
        clip: name of the clip, for messages.
    """
    lidar_SE3_camera = np.linalg.inv(camera_SE3_lidar)
    poses = None if track is None else track.at(times_us) @ lidar_SE3_camera
    return CameraStream(camera, times_us, ImageFiles(tuple(images), clip), lens, poses, lidar_SE3_camera)
