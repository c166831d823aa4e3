"""Where a camera was when the lidar turned: points of a sweep in the image that was taken with it."""

from __future__ import annotations

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip
from cosmos_lidar.clips.poses import interpolate_poses
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.camera_projection import InImage, project_to_image
from cosmos_lidar.sensors.motion import column_fraction


def camera_in_sweep(clip: Clip, stream: CameraStream, index: int, image: int) -> np.ndarray:
    """Return lidar_SE3_camera (4, 4): the camera as it took an image, in the axes of the lidar in mid-sweep.

    With poses, the way of the car between the two moments is in it; without, the mounting is taken.

    Raises:
        DataError: neither poses nor mounting are known.
    """
    if clip.world_SE3_lidar is not None and stream.world_SE3_camera is not None:
        world_SE3_lidar = _lidar_at(clip, index, np.float64(clip.timestamps_us[index].mean()))
        return np.linalg.inv(world_SE3_lidar) @ stream.world_SE3_camera[image]
    if stream.lidar_SE3_camera is not None:
        return stream.lidar_SE3_camera
    wanted = "poses of lidar and camera, or the camera's mounting"
    raise DataError(f"camera {stream.name} has no place", file=clip.source, clip=clip.clip_id, wanted=wanted)


def vehicle_mount(clip: Clip, stream: CameraStream) -> np.ndarray | None:
    """Return ego_SE3_camera (4, 4), camera axes to those of the vehicle: as recorded, else by the lidar's mounting.

    Where the recording has poses alone, they give it for an image that was taken during a sweep. None where nothing
    gives it.
    """
    if stream.ego_SE3_camera is not None or not clip.lidars or clip.lidar.ego_SE3_lidar is None:
        return stream.ego_SE3_camera
    if stream.lidar_SE3_camera is not None:
        return clip.lidar.ego_SE3_lidar @ stream.lidar_SE3_camera
    if clip.world_SE3_lidar is None or stream.world_SE3_camera is None:
        return None
    times = stream.timestamps_us[:, None]
    taken = np.argwhere((times >= clip.timestamps_us[:, 0]) & (times <= clip.timestamps_us[:, 1]))
    if not len(taken):
        return None
    image, index = taken[0].tolist()
    world_SE3_lidar = _lidar_at(clip, index, np.float64(stream.timestamps_us[image]))
    return clip.lidar.ego_SE3_lidar @ np.linalg.inv(world_SE3_lidar) @ stream.world_SE3_camera[image]


def project_sweep(
    clip: Clip,
    stream: CameraStream,
    index: int,
    image: int,
    points: np.ndarray,
    time_us: np.ndarray | None = None,
) -> InImage:
    """Return where points of a sweep are in an image, and which of them the camera sees.

    Each point is moved by the way that the car made between the moment when the lidar saw it, by its time or azimuth
    (at the sweep's start for motion-compensated points), and the moment of the image. Rows of an image are taken to
    be of one moment.

    Args:
        clip: with the sweep.
        stream: the camera.
        index: number of the sweep.
        image: number of the image.
        points: (N, 3) meters, lidar axes.
        time_us: (N,) microseconds after the start of the sweep, where the sweep has them; None: by azimuth.

    Raises:
        DataError: no lens, or no place of the camera.
    """
    if stream.model is None:
        raise DataError(
            f"camera {stream.name} has no lens", file=clip.source, clip=clip.clip_id, wanted="intrinsics of the camera"
        )
    return project_to_image(points_in_camera(clip, stream, index, image, points, time_us), stream.model)


def points_in_camera(
    clip: Clip,
    stream: CameraStream,
    index: int,
    image: int,
    points: np.ndarray,
    time_us: np.ndarray | None = None,
) -> np.ndarray:
    """Return points of a sweep in the axes of the camera as it took an image, (N, 3) float64 meters.

    Arguments and moments as for :func:`project_sweep`.

    Raises:
        DataError: no place of the camera.
    """
    if clip.world_SE3_lidar is not None and stream.world_SE3_camera is not None:
        camera_SE3_points = np.linalg.inv(stream.world_SE3_camera[image])
        still = points_in_world(clip, index, points, time_us)
    else:
        camera_SE3_points = np.linalg.inv(camera_in_sweep(clip, stream, index, image))
        still = points.astype(np.float64)
    return still @ camera_SE3_points[:3, :3].T + camera_SE3_points[:3, 3]


def points_in_world(clip: Clip, index: int, points: np.ndarray, time_us: np.ndarray | None = None) -> np.ndarray:
    """Return points of a sweep in the world, (N, 3) float64 meters, each from where the lidar was when it saw it.

    Args:
        clip: whose lidar has poses.
        index: number of the sweep.
        points: (N, 3) meters, lidar axes.
        time_us: (N,) microseconds after the start of the sweep, where the sweep has them; None: by azimuth.
    """
    still = points.astype(np.float64)
    if not len(points):
        return still
    start_us, end_us = clip.timestamps_us[index].astype(np.float64)
    if clip.motion_compensated:
        reference = clip.lidar.reference_us
        pose = _lidar_at(clip, index, np.float64(start_us if reference is None else reference[index]))
        return still @ pose[:3, :3].T + pose[:3, 3]
    seen_us = start_us + (
        column_fraction(still, clip.sensor) * (end_us - start_us) if time_us is None else time_us
    )  # fmt: skip
    world_SE3_seen = _lidar_at(clip, index, seen_us)
    return np.einsum("nij,nj->ni", world_SE3_seen[:, :3, :3], still) + world_SE3_seen[:, :3, 3]


def _lidar_at(clip: Clip, index: int, times_us: np.ndarray) -> np.ndarray:
    if clip.lidar.trajectory is not None:
        return clip.lidar.trajectory.at(times_us)
    return interpolate_poses(np.asarray(clip.world_SE3_lidar)[index], clip.timestamps_us[index], times_us)
