"""Tables beside the videos of the multi-view guide's folder, as its Waymo converter makes them: times, poses, lenses.

``videos/timestamp/CLIP.tar`` has a member ``CLIP.NNNNNN.timestamp_micros.txt`` per frame, whose numbers count at 30 Hz,
and ``videos/pose/CLIP.tar`` a ``CLIP.NNNNNN.pose.CAMERA.npy`` at each number, camera to world (x right, y down, z
forward). ``CAMERA`` is the name of the folder of videos without ``pinhole_`` or ``ftheta_``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cosmos_lidar.clips.tar_index import TarIndex
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.rigid import rigid

KEYS_HZ = 30.0
_TIME, _LONGEST_TIME = ".timestamp_micros.txt", 32


def camera_of(folder: str) -> str:
    """Return the name that tables have for the camera of a folder of videos."""
    return folder.removeprefix("pinhole_").removeprefix("ftheta_")


def frame_numbers(frames: int, fps: float) -> np.ndarray:
    """Return (F,) int64 numbers at 30 Hz of the frames of a video; faster videos have one for each frame."""
    return np.rint(np.arange(frames) * max(1.0, KEYS_HZ / fps)).astype(np.int64)


def read_timestamps(videos: Path, clip: str, frames: int) -> dict[int, int] | None:
    """Return number at 30 Hz -> microseconds of the frames of a clip, in their order; None where there is no table.

    Args:
        videos: the folder with the videos and tables.
        clip: as the files are named.
        frames: of the videos.

    Raises:
        DataError: a broken tar, other members, another count than that of the frames, or times that do not increase.
    """
    tar = TarIndex.of_clip(videos / "timestamp", clip)
    if tar is None:
        return None
    found = {}
    for name in tar.members:
        number = name.removesuffix(_TIME).rsplit(".", 1)[-1]
        text = tar.read(name, clip, _LONGEST_TIME).decode("ascii", "replace").strip()
        if not name.endswith(_TIME) or not number.isdecimal() or not text.isdecimal():
            problem, wanted = f"{text!r:.40}", f"members CLIP.NNNNNN{_TIME} of whole microseconds"
            raise DataError(problem, file=tar.path, clip=clip, key=name, wanted=wanted)
        found[int(number)] = int(text)
    found = dict(sorted(found.items()))
    times = np.array(list(found.values()), np.float64)
    if len(found) != frames or (np.diff(times) <= 0).any():
        problem = f"{len(found)} times for {frames} frames" if len(found) != frames else "times that do not increase"
        raise DataError(problem, file=tar.path, clip=clip, key="timestamp_micros", wanted="one later time per frame")
    return found


def read_poses(videos: Path, clip: str, camera: str, numbers: list[int]) -> np.ndarray | None:
    """Return (F, 4, 4) poses of a camera at numbers of frames; None where there is no table, or not of this camera.

    Args:
        videos: the folder with the videos and tables.
        clip: as the files are named.
        camera: its name in tables.
        numbers: of the frames, at 30 Hz.

    Raises:
        DataError: a broken tar, a frame without a pose, or matrices that are no poses.
    """
    tar = TarIndex.of_clip(videos / "pose", clip)
    ending = f".pose.{camera}.npy"
    if tar is None or not any(name.endswith(ending) for name in tar.members):
        return None
    poses = []
    for number in numbers:
        name = f"{clip}.{number:06d}{ending}"
        pose = tar.read_array(name, clip)
        if pose.shape != (4, 4) or pose.dtype.kind != "f" or not rigid(pose):
            wanted = "a rigid (4, 4) pose of floats"
            raise DataError(f"shape {pose.shape}, {pose.dtype}", file=tar.path, clip=clip, key=name, wanted=wanted)
        poses.append(pose.astype(np.float64))
    return np.stack(poses)
