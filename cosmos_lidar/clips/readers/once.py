"""ONCE: sequences of a Hesai Pandar40P and seven cameras, two frames a second.

Points are float32 x y z intensity in axes x **left**, y **back**, z up (published). They are turned here into x
forward, y left, z up: (x, y, z) becomes (-y, x, z); poses and mountings are turned along. The world frame is that of
the lidar at the first frame of the sequence. ``pose`` holds a quaternion in the order x y z w, and meters.

The name of a frame is its time in milliseconds; frames are half a second apart, or more where some were dropped. Taken
for granted, and noted in every clip: the time is that of the middle of the scan, and points are as measured. Poses of
start and end of a scan lie between those of its frame and the next ones.

Images are taken for distorted, with the coefficients of the calibration, as the published tools do; the published
description of the data has them undistorted. Not read: boxes (``annos``). ONCE has no labels of points.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip, one_lidar_clip
from cosmos_lidar.clips.files import ImageFiles, PointSweeps, clean_id, image_size
from cosmos_lidar.clips.poses import interpolate_poses, pose_from_quaternion
from cosmos_lidar.clips.readers._each import OnError, open_each
from cosmos_lidar.clips.readers.kitti.scans import around
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import parse_json, read_text, visible, visible_files
from cosmos_lidar.sensors.pinhole import PinholeCamera
from cosmos_lidar.sensors.rigid import pose_of_file
from cosmos_lidar.sensors.sensor import Sensor, load_sensor

DESCRIPTION = "ONCE: sequences of a 40-beam lidar and seven cameras at 2 Hz"
EXAMPLE_LAYOUT = """
data/000076/lidar_roof/1616343527200.bin                      also below a sequence
data/000076/000076.json, data/000076/cam01/1616343527200.jpg, …                               (optional)
"""
_SEQUENCE = re.compile(r"\d{6}")
_OURS_R_THEIRS = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
_WANTED = "calib and frames, as ONCE has them"
_ASSUMED = (
    "taken for granted: frame times are those of the middle of a scan, points are as measured",
    "images are taken for distorted by the coefficients of the calibration",
)


def recognise(path: Path) -> Strength:
    """Return EXACT where there are sequences with ``lidar_roof``."""
    return Strength.EXACT if _find_sequences(path) else Strength.NONE


def open_clips(path: Path, sensor: Sensor | None = None, on_error: OnError | None = None) -> list[Clip]:
    """Return one clip per sequence.

    Raises:
        DataError: no scan in a sequence, or a file of frames and calibration that is broken.
    """
    sensor = sensor or load_sensor("hesai_pandar40p")
    return open_each((partial(_open_sequence, folder, sensor) for folder in _find_sequences(path)), on_error)


def _find_sequences(path: Path) -> list[Path]:
    for above in (path, *path.parents[:2]):
        if _is_sequence(above):
            return [above]
    for place in (path / "data", path):
        found = [folder for folder in visible(place, "[0-9]*") if _is_sequence(folder)]
        if found:
            return found
    return []


def _is_sequence(path: Path) -> bool:
    return _SEQUENCE.fullmatch(path.resolve().name) is not None and (path / "lidar_roof").is_dir()


def _open_sequence(folder: Path, sensor: Sensor) -> Clip:
    folder = folder.resolve()
    name = clean_id(folder.name)
    files = {file.stem: file for file in visible_files(folder / "lidar_roof", "*.bin")}
    if not files:
        raise DataError("no scan in it", file=folder / "lidar_roof", clip=name, wanted="files <milliseconds>.bin")
    source, notes = folder / f"{folder.name}.json", list(_ASSUMED)
    document = _read(source, name) if source.is_file() else None
    frames = _chosen(files, document, source, name, notes)
    times = {frame: _time_us(frame, source if document else files[frame], name) for frame in frames}
    frames.sort(key=lambda frame: times[frame])
    middle = np.array([times[frame] for frame in frames], np.int64)
    ends = around(middle, sensor)
    poses = None if document is None else np.stack([document["frames"][frame] for frame in frames])
    read = PointSweeps(name, tuple(files[frame] for frame in frames), sensor_R_file=_OURS_R_THEIRS)
    cameras = {} if document is None else dict(_cameras(folder, document, times, poses, middle, source, name, notes))
    return one_lidar_clip(
        name, sensor, tuple(frames), ends, read, folder, "once",
        None if poses is None else interpolate_poses(poses, middle, ends), False, cameras, tuple(notes),
        name="lidar_roof",
    )  # fmt: skip


def _chosen(
    files: dict[str, Path], document: dict[str, Any] | None, source: Path, clip: str, notes: list[str]
) -> list[str]:
    """Return the names of the frames that are both listed and on disk, and note the others."""
    if document is None:
        notes.append(f"no {source.name}: no poses, no cameras")
        return list(files)
    frames = [frame for frame in document["frames"] if frame in files]
    missing, left_out = len(document["frames"]) - len(frames), len(files) - len(frames)
    if not frames:
        wanted = f"scans of them in {source.parent / 'lidar_roof'}"
        raise DataError("none of its frames is on disk", file=source, clip=clip, key="frames", wanted=wanted)
    if missing:
        notes.append(f"{missing} of {len(document['frames'])} frames of {source.name} are not on disk")
    if left_out:
        notes.append(f"{left_out} scans are left out: {source.name} does not list them")
    return frames


def _time_us(frame: str, file: Path, clip: str) -> int:
    if not frame.isdecimal() or len(frame) > 15:
        raise DataError("no time in the name of a frame", file=file, clip=clip, key=frame, wanted="milliseconds")
    return int(frame) * 1000


def _read(file: Path, clip: str) -> dict[str, Any]:
    """Return ``calib``, and ``frames``: name -> world_SE3_lidar in our axes.

    Raises:
        DataError: no such file.
    """
    try:
        document = parse_json(read_text(file))
        frames = {frame["frame_id"]: frame["pose"] for frame in document["frames"]}
        calibration = dict(document["calib"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        problem = f"not readable: {type(error).__name__} {error!s:.100}"
        raise DataError(problem, file=file, clip=clip, wanted=_WANTED) from error
    if not frames or not all(isinstance(frame, str) for frame in frames):
        raise DataError("no frames with names", file=file, clip=clip, key="frames", wanted=_WANTED)
    return {"calib": calibration, "frames": {frame: _pose(pose, frame, file, clip) for frame, pose in frames.items()}}


def _pose(values: Any, frame: str, file: Path, clip: str) -> np.ndarray:
    wanted = "a unit quaternion x y z w, and x y z in meters"
    try:
        numbers = [float(value) for value in values]
        if len(numbers) != 7:
            raise ValueError(f"{len(numbers)} numbers")
        if not np.isfinite(numbers).all() or abs(np.linalg.norm(numbers[:4]) - 1.0) > 0.01:
            raise ValueError("no unit quaternion")
    except (TypeError, ValueError) as error:
        raise DataError(f"no pose: {error}", file=file, clip=clip, key=f"pose of {frame}", wanted=wanted) from error
    pose = pose_from_quaternion([numbers[3], *numbers[:3]], numbers[4:])
    turn = _turn()
    return turn @ pose @ turn.T


def _turn() -> np.ndarray:
    turn = np.eye(4)
    turn[:3, :3] = _OURS_R_THEIRS
    return turn


def _cameras(
    folder: Path,
    document: dict[str, Any],
    times: dict[str, int],
    poses: np.ndarray | None,
    middle_us: np.ndarray,
    source: Path,
    clip: str,
    notes: list[str],
) -> Iterator[tuple[str, CameraStream]]:
    """Yield the cameras that have images of frames; images have the time of their frame."""
    for place in visible(folder, "cam[0-9]*"):
        images = {file.stem: file for file in visible_files(place, "*.jpg")}
        taken = sorted((times[frame], file) for frame, file in images.items() if frame in times)
        if not taken:
            continue
        name, record = place.name, document["calib"].get(place.name)
        if not isinstance(record, dict):
            raise DataError("no calibration of it", file=source, clip=clip, key=name, wanted=_WANTED)
        mounting = pose_of_file(
            record.get("cam_to_velo"), source, "cam_to_velo", "camera to lidar axes", f"{name} of clip {clip}"
        )
        lidar_SE3_camera = _turn() @ mounting
        lens = _lens(name, record, taken[0][1], source, clip, notes)
        moments = np.array([moment for moment, _ in taken], np.int64)
        world = None if poses is None else interpolate_poses(poses, middle_us, moments) @ lidar_SE3_camera
        reader = ImageFiles(tuple(file for _, file in taken), clip)
        yield name, CameraStream(name, moments, reader, lens, world, lidar_SE3_camera)


def _lens(
    name: str, record: dict[str, Any], image: Path, file: Path, clip: str, notes: list[str]
) -> PinholeCamera | None:
    try:
        matrix = np.array(record["cam_intrinsic"], np.float64)
        distortion = np.array(record.get("distortion", []), np.float64).ravel()
        if matrix.shape not in ((3, 3), (3, 4)) or not np.isfinite(matrix).all() or not np.isfinite(distortion).all():
            raise ValueError(f"cam_intrinsic of shape {matrix.shape}, or numbers that are not finite")
        if np.any(distortion[5:]):  # of OpenCV's rational model
            notes.append(f"{name}: no lens, {len(distortion)} coefficients of distortion are not read")
            return None
        five = np.zeros(5)
        five[: len(distortion[:5])] = distortion[:5]
        coefficients = tuple(five.tolist()) if five.any() else ()
        return PinholeCamera(
            matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], *image_size(image), distortion=coefficients
        )
    except (KeyError, TypeError, ValueError) as error:
        wanted = "cam_intrinsic of 3 x 3 numbers, distortion k1 k2 p1 p2 k3"
        raise DataError(f"{name} has no lens: {error!s:.100}", file=file, clip=clip, key=name, wanted=wanted) from error
    except DataError as error:
        raise error.at(file=error.file or file, clip=clip, key=name) from error
