"""Poses by themselves: count, NaN, no rigid motion, jumps, ends of sweeps that do not meet."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cosmos_lidar.clips.checks._recording import Recording
from cosmos_lidar.clips.clip import CameraStream, LidarStream
from cosmos_lidar.clips.finding import Finding
from cosmos_lidar.sensors.rigid import rigid

TITLE = "poses that are NaN, no rigid motion, or jump"
READS = False
FASTEST_M_PER_S = 70.0
_LARGEST_SEAM_M = 0.5


def check_lidar(recording: Recording, stream: LidarStream) -> Iterator[Finding]:
    """Yield what is wrong with the poses of the lidar."""
    if stream.world_SE3_lidar is None:
        return
    count = len(stream.world_SE3_lidar)
    if count != len(stream):
        text = f"{count} poses for {len(stream)} frames"
        yield Finding("poses.count", "error", text, evidence={"poses": count, "frames": len(stream)})
    elif len(stream.timestamps_us) == count:
        yield from pose_findings(stream.world_SE3_lidar, stream.timestamps_us)


def check_camera(recording: Recording, camera: CameraStream) -> Iterator[Finding]:
    """Yield the first pose of the camera that is no rigid motion."""
    if camera.world_SE3_camera is None:
        return
    good = rigid(camera.world_SE3_camera)
    if not good.all():
        first = int(np.argmin(good))
        evidence = {"poses": np.count_nonzero(~good), "pose": camera.world_SE3_camera[first]}
        text = f"the pose of image {first} is no rigid motion"
        yield Finding("poses.not_rigid", "error", text, first, evidence=evidence)


def pose_findings(world_SE3_lidar: np.ndarray, timestamps_us: np.ndarray) -> Iterator[Finding]:
    """Yield findings on poses (N, 2, 4, 4) at times (N, 2): NaN, no rigid matrix, jumps, ends that do not meet."""
    poses = np.asarray(world_SE3_lidar, np.float64)
    finite = np.isfinite(poses).all((-1, -2, -3))
    good = np.asarray(rigid(poses).all(-1))
    if not finite.all():
        count, first = int((~finite).sum()), int(np.argmin(finite))
        text = f"{count} poses are NaN or infinite, the first is of sweep {first}"
        yield Finding("poses.not_finite", "error", text, first, evidence={"poses": count})
    bent = finite & ~good
    if bent.any():
        count, first = int(bent.sum()), int(np.argmax(bent))
        text = f"{count} poses are no rigid motion, the first is of sweep {first}"
        determinant = np.linalg.det(poses[first, :, :3, :3])
        yield Finding("poses.not_rigid", "error", text, first, evidence={"poses": count, "determinant": determinant})
    yield from _jumps(poses, timestamps_us, good)


def _jumps(poses: np.ndarray, timestamps_us: np.ndarray, good: np.ndarray) -> Iterator[Finding]:
    places, times = poses[:, :, :3, 3], timestamps_us / 1e6
    inside = _speed(places[:, 0], places[:, 1], times[:, 1] - times[:, 0])
    inside[~good] = 0.0
    limit = {"fastest_m_per_s": FASTEST_M_PER_S}
    if (inside > FASTEST_M_PER_S).any():
        first = int(np.argmax(inside))
        text = f"the pose jumps within sweep {first}: {inside.max():.0f} m/s"
        yield Finding("poses.jump", "error", text, first, evidence={"speed_m_per_s": inside.max(), **limit})
    both = good[1:] & good[:-1]
    between = np.where(both, _speed(places[:-1, 0], places[1:, 0], np.diff(times[:, 0])), 0.0)
    if (between > FASTEST_M_PER_S).any():
        first = int(np.argmax(between > FASTEST_M_PER_S))
        count = int((between > FASTEST_M_PER_S).sum())
        text = f"{count} jumps of the pose, first from sweep {first} to {first + 1}: {between[first]:.0f} m/s"
        evidence = {"jumps": count, "speed_m_per_s": between[first], **limit}
        yield Finding("poses.jump", "error", text, first, evidence=evidence)
    meets = both & (np.abs(times[1:, 0] - times[:-1, 1]) < 1e-3)
    seam = np.where(meets, np.linalg.norm(places[1:, 0] - places[:-1, 1], axis=-1), 0.0)
    if (seam > _LARGEST_SEAM_M).any():
        at = int(np.argmax(seam))
        text = f"the pose at the end of sweep {at} is {seam[at]:.2f} m from that at the start of the next"
        yield Finding("poses.seam", "error", text, at, evidence={"distance_m": seam[at], "largest_m": _LARGEST_SEAM_M})


def _speed(before: np.ndarray, after: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Return (N,) meters per second; 0 where no time passes: that is a problem of the times."""
    distance = np.nan_to_num(np.linalg.norm(after - before, axis=-1), posinf=0.0)
    return np.where(seconds > 0, distance / np.where(seconds > 0, seconds, 1.0), 0.0)
