"""The cameras of the published release: mp4 files, poses per image, intrinsics vectors."""

from __future__ import annotations

from glob import escape
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import CameraStream
from cosmos_lidar.clips.multiview_tables import camera_of
from cosmos_lidar.clips.poses import interpolate_poses
from cosmos_lidar.clips.tar_index import TarIndex
from cosmos_lidar.clips.video import VideoFile
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import visible_files
from cosmos_lidar.sensors.ftheta import FThetaCamera
from cosmos_lidar.sensors.pinhole import PinholeCamera

IMAGE_STEP_US = 1_000_000 / 30


def open_cameras(root: Path, clip: str, frame_ids: tuple[str, ...], start_us: np.ndarray) -> dict[str, CameraStream]:
    """Return the cameras that have ``<folder>/<clip>.mp4`` at ``root``; empty where there are none.

    The frame id of a sweep is the number of the image taken at its start, which gives the images their times
    (between sweeps and beyond them in equal steps). Poses that ``pose/<clip>.tar`` leaves out are interpolated.

    Args:
        root: the dataset.
        clip: as the files are named.
        frame_ids: of the sweeps.
        start_us: (N,) start of each sweep.

    Raises:
        DataError: frame ids that are no numbers, or broken poses, intrinsics or videos.
    """
    videos = {file.parent.name: file for file in visible_files(root, f"*/{escape(clip)}.mp4")}
    if not videos:
        return {}
    if not all(frame.isdecimal() for frame in frame_ids):
        file = root / "metadata" / f"{clip}.npz"
        raise DataError(
            "frame ids are no numbers, so images have no time",
            file=file,
            clip=clip,
            key="frame_indices",
            wanted="the number of the image taken at the start of each sweep",
        )
    numbers = np.array([int(frame) for frame in frame_ids])
    poses, lenses = TarIndex.of_clip(root / "pose", clip), read_lenses(root, clip)
    cameras = {}
    for folder, file in videos.items():
        name = camera_of(folder)
        video = VideoFile(file, clip)
        times = _image_times(numbers, start_us, len(video))
        pose = None if poses is None else _camera_poses(poses, clip, name, times)
        cameras[name] = CameraStream(name, times, video, lenses.get(name), pose)
    return cameras


def _image_times(numbers: np.ndarray, start_us: np.ndarray, count: int) -> np.ndarray:
    wanted = np.arange(count)
    order = np.argsort(numbers, kind="stable")
    numbers, start_us = numbers[order], start_us[order].astype(np.float64)
    first, last = wanted < numbers[0], wanted > numbers[-1]
    step = (start_us[-1] - start_us[0]) / (numbers[-1] - numbers[0]) if numbers[-1] > numbers[0] else IMAGE_STEP_US
    times = np.interp(wanted, numbers, start_us)
    times[first] = start_us[0] + (wanted[first] - numbers[0]) * step
    times[last] = start_us[-1] + (wanted[last] - numbers[-1]) * step
    return np.round(times).astype(np.int64)


def _camera_poses(tar: TarIndex, clip: str, camera: str, times: np.ndarray) -> np.ndarray | None:
    ending = f".pose.{camera}.npy"
    names = [name for name in tar.members if name.endswith(ending)]
    frames = {}
    for name in names:
        frame = name.removesuffix(ending).rsplit(".", 1)[-1]
        if frame.isdecimal() and int(frame) < len(times):
            frames[int(frame)] = _pose(tar, name, clip)
    if not frames:
        return None
    known = sorted(frames)
    return interpolate_poses(np.stack([frames[k] for k in known]), times[known], times)


def _pose(tar: TarIndex, name: str, clip: str) -> np.ndarray:
    pose = tar.read_array(name, clip)
    if pose.shape != (4, 4) or pose.dtype.kind != "f":
        raise DataError(
            f"shape {pose.shape}, dtype {pose.dtype}", file=tar.path, clip=clip, key=name, wanted="(4, 4) floats"
        )
    return pose.astype(np.float64)


def read_lenses(root: Path, clip: str) -> dict[str, FThetaCamera | PinholeCamera]:
    """Return the lens of each camera named in ``ftheta_intrinsic/<clip>.tar`` or ``pinhole_intrinsic/<clip>.tar``."""
    lenses: dict[str, FThetaCamera | PinholeCamera] = {}
    for kind in ("ftheta", "pinhole"):
        tar = TarIndex.of_clip(root / f"{kind}_intrinsic", clip)
        if tar is None:
            continue
        for name in tar.members:
            if name.endswith(".npy"):
                camera = name.removesuffix(".npy").rsplit(".", 1)[-1]
                lenses[camera] = _lens(kind, tar, name, clip)
    return lenses


def _lens(kind: str, tar: TarIndex, name: str, clip: str) -> FThetaCamera | PinholeCamera:
    vector = tar.read_array(name, clip)
    try:
        if kind == "ftheta":
            return FThetaCamera.from_vector(vector)
        fx, fy, cx, cy, width, height = (float(value) for value in vector)
        return PinholeCamera(fx, fy, cx, cy, int(width), int(height))
    except (DataError, ValueError, TypeError) as error:
        wanted = (
            "fx, fy, cx, cy, width, height"
            if kind == "pinhole"
            else "11 or 14 numbers: cx, cy, width, height, k0..k5, is_bw"
        )
        problem = getattr(error, "problem", str(error))
        raise DataError(problem, file=tar.path, clip=clip, key=name, wanted=wanted) from error
