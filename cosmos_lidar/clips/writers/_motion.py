"""Poses of a lidar at any time, mountings of cameras, and how far poses are from others, for writers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cosmos_lidar.clips.blocks import blocks
from cosmos_lidar.clips.clip import CameraStream, LidarStream
from cosmos_lidar.clips.poses import rotation_vector
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.clips.trajectory import Trajectory
from cosmos_lidar.clips.writers._contract import Losses

_SAME_M, _SAME_DEG = 1e-3, 1e-2  # poses that are nearer than this are the same for any use


def track_of(lidar: LidarStream) -> Trajectory | None:
    """Return the poses of a lidar over time: its trajectory, else those at starts and ends of its sweeps.

    None where poses are not known.
    """
    if lidar.trajectory is not None:
        return lidar.trajectory
    if lidar.world_SE3_lidar is None:
        return None
    times, poses = once_per_time(lidar.timestamps_us, lidar.world_SE3_lidar)
    return Trajectory(poses, times)


def once_per_time(times_us: np.ndarray, world_SE3_body: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return increasing times (K,) and a pose of each (K, 4, 4), of poses (N, …, 4, 4) at times (N, …).

    Where the end of a sweep is the start of another one, times (N, 2), the pose of the start counts.
    """
    times, first = np.unique(times_us.T.ravel(), return_index=True)
    poses = np.swapaxes(world_SE3_body, 0, times_us.ndim - 1).reshape(-1, 4, 4)
    return times, poses[first]


def moments_of(lidar: LidarStream) -> np.ndarray:
    """Return (K,) the starts and ends of sweeps, and the times of the trajectory between them."""
    more = lidar.trajectory.times_us if lidar.trajectory is not None else np.empty(0, np.int64)
    first, last = lidar.timestamps_us.min(), lidar.timestamps_us.max()
    return np.unique(np.concatenate([lidar.timestamps_us.ravel(), more[(more > first) & (more < last)]]))


def reference_times(lidar: LidarStream) -> np.ndarray:
    """Return (N,) microseconds of the axes that motion-compensated points of each sweep are in."""
    return lidar.timestamps_us[:, 0] if lidar.reference_us is None else lidar.reference_us


def cloud_at(lidar: LidarStream, index: int, cloud: Sweep, time_us: int, own: bool = False) -> Sweep:
    """Return points of a sweep in the axes that the lidar had at a time, all of them compensated for motion.

    Args:
        lidar: with known poses.
        index: of the sweep.
        cloud: its points, as the recording has them.
        time_us: of the axes.
        own: the points are nobody else's: they are moved in place.
    """
    points = np.zeros((0, 3), np.float32) if cloud.points is None else cloud.points
    if lidar.motion_compensated:
        track = track_of(lidar)
        assert track is not None  # the caller has looked
        before, after = track.at(np.array([reference_times(lidar)[index], time_us]))
        move = np.linalg.inv(after) @ before
        return replace(cloud, points=moved_points(points, move, points if own else None))
    moments = np.full(len(lidar), time_us)
    motion = replace(lidar, reference_us=moments).motion(index)
    assert motion is not None  # the caller has looked
    return replace(cloud, points=motion.compensated(points, cloud.time_us, points if own else None))


def moved_points(points: np.ndarray, pose: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return points (N, 3) float32 moved by a pose (4, 4), computed in its precision, to ``out`` where one is given."""
    moved = np.empty((len(points), 3), np.float32) if out is None else out
    for part in blocks(len(points)):
        moved[part] = points[part] @ pose[:3, :3].T + pose[:3, 3]
    return moved


def cloud_as_seen(lidar: LidarStream, index: int, cloud: Sweep) -> Sweep:
    """Return points of a sweep where the lidar saw them; those of unknown motion, or as measured, come back."""
    motion = lidar.motion(index) if lidar.motion_compensated else None
    if motion is None or cloud.points is None or not len(cloud.points):
        return cloud
    return replace(cloud, points=motion.as_seen(cloud.points, cloud.time_us))


def mounting_of(camera: CameraStream, lidar: LidarStream) -> np.ndarray | None:
    """Return lidar_SE3_camera (4, 4): as the recording has it, else by the vehicle, else by poses.

    Poses give it where it is the same for all images, within 1 cm and 0.1°. None where nothing gives it.
    """
    if camera.lidar_SE3_camera is not None:
        return camera.lidar_SE3_camera
    if camera.ego_SE3_camera is not None and lidar.ego_SE3_lidar is not None:
        return np.linalg.inv(lidar.ego_SE3_lidar) @ camera.ego_SE3_camera
    track = track_of(lidar)
    if track is None or camera.world_SE3_camera is None:
        return None
    found = np.linalg.inv(track.at(camera.timestamps_us)) @ camera.world_SE3_camera
    meters, degrees = largest_difference(found, np.broadcast_to(found[0], found.shape))
    return found[0] if meters < 1e-2 and degrees < 0.1 else None


def largest_difference(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Return the largest distance (m) and turn (degrees) between poses (…, 4, 4) and others of the same shape."""
    if not one.size:
        return 0.0, 0.0
    turns = rotation_vector(np.swapaxes(one[..., :3, :3], -1, -2) @ other[..., :3, :3])
    meters = np.linalg.norm(one[..., :3, 3] - other[..., :3, 3], axis=-1)
    return float(meters.max()), float(np.degrees(np.linalg.norm(turns, axis=-1)).max())


def note_difference(losses: Losses, value: str, given: np.ndarray, kept: np.ndarray, how: str) -> None:
    """Note poses that the layout keeps only nearly, with the largest difference; ``how`` they are kept."""
    meters, degrees = largest_difference(given, kept)
    if meters > _SAME_M or degrees > _SAME_DEG:
        losses.add(value, f"{how}: off by up to {meters:.3g} m, {degrees:.3g}°")


def note_camera_poses(losses: Losses, cameras: dict[str, CameraStream], lidar: LidarStream) -> None:
    """Note cameras whose own poses are not those that the lidar's poses and their mounting give."""
    track = track_of(lidar)
    for name, camera in cameras.items():
        mounting = mounting_of(camera, lidar)
        if camera.world_SE3_camera is None or mounting is None:
            continue
        if track is None:
            losses.add("camera_poses", f"{name}: not held without poses of the lidar")
            return
        kept = track.at(camera.timestamps_us) @ mounting
        note_difference(losses, "camera_poses", camera.world_SE3_camera, kept, f"{name}: by lidar and mounting")
