"""Frames of NAVSIM and OpenScene: ``LOG.pkl``, a list with one dictionary per frame, two frames a second.

Only plain values and arrays of numbers are let in (:mod:`cosmos_lidar.pickles`). ``sensor2lidar`` of a camera is its
mounting in the axes of the merged cloud. Images have no times of their own: they get that of their frame.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.bounds import read_file
from cosmos_lidar.clips.readers.nuplan.records import CameraRecords, LogRecords, five, mounting, numbers, track_of
from cosmos_lidar.errors import DataError
from cosmos_lidar.pickles import load_arrays

WANTED = "frames of NAVSIM: a pickled list of dictionaries with timestamp, lidar_path, ego2global and cams"
NOTE = "images have no times of their own: those of their frames"


def read_frames(file: Path, clip: str) -> LogRecords:
    """Return the records of a log.

    Raises:
        DataError: no such file, a pickle of anything but numbers and texts, keys missing.
    """
    frames = _load(file, clip)
    try:
        return _records(frames, file, clip)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"not readable: {error!r:.120}", file=file, clip=clip, wanted=WANTED) from error


def _records(frames: list[dict[str, Any]], file: Path, clip: str) -> LogRecords:
    times = np.array([_stamp(frame) for frame in frames], np.int64)
    poses = [_pose(frame, "ego2global", f"frame {place}", file, clip) for place, frame in enumerate(frames)]
    ego_SE3_cloud = np.eye(4)
    if frames[0].get("lidar2ego_rotation") is not None:
        ego_SE3_cloud = _pose(frames[0], "lidar2ego", "frame 0", file, clip)
    track, notes = track_of(times, np.stack(poses), file, clip, order=2)
    clouds = [(int(stamp), _name(frame.get("lidar_path"))) for stamp, frame in zip(times, frames, strict=True)]
    return LogRecords(clouds, ego_SE3_cloud, track, _cameras(frames, times, ego_SE3_cloud, file, clip), (*notes, NOTE))


def _pose(record: dict[str, Any], axes: str, key: str, file: Path, clip: str) -> np.ndarray:
    rotation, translation = record.get(f"{axes}_rotation"), record.get(f"{axes}_translation")
    return mounting(rotation, translation, file, clip, f"{key}, {axes}")


def _load(file: Path, clip: str) -> list[dict[str, Any]]:
    try:
        frames = load_arrays(read_file(file, "frames of a log", clip=clip))
        if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
            raise ValueError("no list of frames")
        return sorted(frames, key=_stamp)
    except DataError:
        raise
    except Exception as error:  # pickles fail in every way there is
        raise DataError(f"not readable: {error!r:.120}", file=file, clip=clip, wanted=WANTED) from error


def _stamp(frame: dict[str, Any]) -> int:
    stamp = frame["timestamp"]
    if not isinstance(stamp, (int, np.integer)):
        raise ValueError(f"timestamp {stamp!r:.40}")
    return int(stamp)


def _name(path: Any) -> str:
    return path.rpartition("/")[2] if isinstance(path, str) else ""


def _cameras(
    frames: list[dict[str, Any]], times: np.ndarray, ego_SE3_cloud: np.ndarray, file: Path, clip: str
) -> dict[str, CameraRecords]:
    images: dict[str, list[tuple[int, str]]] = {}
    records: dict[str, dict[str, Any]] = {}
    for stamp, frame in zip(times, frames, strict=True):
        cameras = frame.get("cams")
        for channel, camera in (cameras if isinstance(cameras, dict) else {}).items():
            if isinstance(channel, str) and isinstance(camera, dict):
                records.setdefault(channel, camera)
                images.setdefault(channel, []).append((int(stamp), _name(camera.get("data_path"))))
    return {channel: _camera(channel, record, images[channel], ego_SE3_cloud, file, clip)
            for channel, record in records.items()}  # fmt: skip


def _camera(
    channel: str,
    record: dict[str, Any],
    images: list[tuple[int, str]],
    ego_SE3_cloud: np.ndarray,
    file: Path,
    clip: str,
) -> CameraRecords:
    key = f"cams {channel}"
    pose = _pose(record, "sensor2lidar", key, file, clip)
    lens = numbers(record.get("cam_intrinsic"), (3, 3), file, clip, f"{key}, cam_intrinsic")
    return CameraRecords(ego_SE3_cloud @ pose, (lens, five(record.get("distortion"), file, clip, key)), None, images)
