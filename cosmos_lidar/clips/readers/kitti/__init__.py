"""KITTI: odometry sequences (with SemanticKITTI labels), raw drives, object frames, any folder of such ``.bin`` files.

Points are float32 x y z reflectance in the axes of the lidar, x forward, y left, z up. In all published layouts
(odometry, object, synchronised raw) they have been moved to where the vehicle was when the scanner looked forward,
which is the middle of the sweep and the moment of the pictures (checked: only moved back from there, clockwise, do the
azimuths of a ring advance in equal steps again). Where poses are known this reader moves them on to the
start of the sweep, as :class:`~cosmos_lidar.clips.clip.Clip` wants motion-compensated points.

The world frame is that of the lidar at the first sweep (odometry) or east-north-up (raw).
The frames of the object set are random moments: each is a clip of its own, also because pictures differ in size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip, one_lidar_clip
from cosmos_lidar.clips.files import PictureFiles, PointSweeps, clean_id, picture_size
from cosmos_lidar.clips.poses import interpolate_poses
from cosmos_lidar.clips.readers._each import OnError, open_each
from cosmos_lidar.clips.readers.kitti import files as text
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.sensor import Sensor, load_sensor

DESCRIPTION = "KITTI odometry, SemanticKITTI, raw or object, or a folder of float32 x y z reflectance .bin files"
EXAMPLE_LAYOUT = """
[dataset/]sequences/08/velodyne/000000.bin   + times.txt, calib.txt, poses.txt or ../../poses/08.txt, labels/, image_2/
2011_09_26/2011_09_26_drive_0001_sync/velodyne_points/data/0000000000.bin
                                             + timestamps*.txt, oxts/, image_02/, and calib_*.txt in 2011_09_26/
training/velodyne/000000.bin                 + calib/000000.txt, image_2/000000.png
FOLDER/000000.bin
"""
_LIDAR = "velodyne"
_PLACES = (
    ("",), ("training", "testing"), ("object/training", "object/testing"), ("sequences/*",), ("dataset/sequences/*",),
    ("*_drive_*",), ("*/*_drive_*",), ("*",),
)  # fmt: skip


def recognise(path: Path) -> bool:
    """Return whether ``path`` is, or holds at one of the usual places, a folder of KITTI scans; or is one scan."""
    return bool(_find(path))


def open_clips(path: Path, sensor: Sensor | None = None, on_error: OnError | None = None) -> list[Clip]:
    """Return the clips at ``path``: one per sequence, drive or folder; one per frame of the object set.

    Raises:
        DataError: no scan where one is expected, calibration or poses or times that cannot be read.
    """
    sensor = sensor or load_sensor("kitti_hdl64e")
    openers: list[Callable[[], Clip]] = []
    for folder, kind in _find(path):
        if kind == "object":
            openers += [
                partial(_open_object, folder, file, sensor) for file in _scans(folder / "velodyne", folder.name)
            ]
        else:
            open_one = {"raw": _open_raw, "sequence": _open_sequence, "bare": _open_bare}[kind]
            openers.append(partial(open_one, folder, sensor))
    return open_each(openers, on_error)


def _find(path: Path) -> list[tuple[Path, str]]:
    """Return the folders of scans at the first of the usual places that has any, and the layout of each."""
    if path.is_file():
        return [(path, "bare")] if _is_scan(path) else []
    if path.name == "velodyne" and _kind(path):
        path = path.parent
    if path.name == "data" and path.parent.name == "velodyne_points":
        path = path.parent.parent
    for patterns in _PLACES:
        folders = [folder for pattern in patterns for folder in (sorted(path.glob(pattern)) if pattern else [path])]
        found = [(folder, kind) for folder in folders if (kind := _kind(folder))]
        if found:
            return found
    return []


def _kind(folder: Path) -> str | None:
    if (folder / "velodyne_points" / "data").is_dir():
        return "raw"
    if (folder / "velodyne").is_dir():
        return "object" if (folder / "calib").is_dir() else "sequence"
    return "bare" if folder.is_dir() and any(_is_scan(file) for file in folder.glob("*.bin")) else None


def _is_scan(file: Path) -> bool:
    return file.suffix == ".bin" and not file.name.endswith(".pcd.bin")


def _scans(folder: Path, clip: str) -> list[Path]:
    files = sorted((file for file in folder.glob("*.bin") if _is_scan(file)), key=lambda f: (_number(f) or 0, f.name))
    if not files:
        raise DataError("no scan in it", file=folder, clip=clip, wanted="files 000000.bin, 000001.bin, …")
    return files


def _number(file: Path) -> int | None:
    return int(file.stem) if file.stem.isdecimal() else None


def _numbers(files: list[Path]) -> np.ndarray:
    """Return the frame numbers in the names, or 0, 1, 2, … where the names are no numbers."""
    numbers = [_number(file) for file in files]
    return np.arange(len(files)) if None in numbers else np.array(numbers)


def _around(middle_us: np.ndarray, sensor: Sensor) -> np.ndarray:
    """Return (N, 2) start and end of sweeps from their middles: half a revolution, as long as most of them took."""
    spin = 1e6 / sensor.spin_hz
    steps = np.diff(middle_us)
    steps = steps[np.abs(steps - spin) < 0.2 * spin]  # the others are gaps
    half = float(np.median(steps) if len(steps) else spin) / 2.0
    return np.round(np.stack([middle_us - half, middle_us + half], -1)).astype(np.int64)


@dataclass(frozen=True)
class _Track:
    """Poses of the lidar at known times, and what they make of a clip."""

    world_SE3_lidar: np.ndarray
    times_us: np.ndarray

    def at(self, wanted_us: np.ndarray) -> np.ndarray:
        order = np.argsort(self.times_us, kind="stable")
        return interpolate_poses(self.world_SE3_lidar[order], self.times_us[order], wanted_us)


def _with_track(clip: Clip, track: _Track | None, middle_us: np.ndarray, missing: str) -> Clip:
    """Return ``clip`` with poses at start and end of its sweeps, and its points moved from the middle to the start."""
    if track is None:
        return replace(clip, notes=(*clip.notes, missing))
    ends = track.at(clip.timestamps_us)
    sweeps = replace(clip.read_sweep, reference_SE3_points=np.linalg.inv(ends[:, 0]) @ track.at(middle_us))
    return clip.with_lidar(world_SE3_lidar=ends, read=sweeps)


def _open_bare(path: Path, sensor: Sensor) -> Clip:
    folder = path.parent if path.is_file() else path
    name = clean_id(
        path.stem if path.is_file() else folder.parent.name if folder.name == "velodyne" else folder.resolve().name
    )
    files = [path] if path.is_file() else _scans(folder, name)
    middle = (_numbers(files) + 0.5) * (1e6 / sensor.spin_hz)
    notes = ("no times: frame numbers at the usual rate", "no poses", "no calibration")
    frames = tuple(file.stem for file in files)
    return one_lidar_clip(name, sensor, frames, _around(middle, sensor), PointSweeps(name, tuple(files)), path, "kitti",
                          motion_compensated=True, notes=notes, name=_LIDAR)  # fmt: skip


def _open_sequence(folder: Path, sensor: Sensor) -> Clip:
    """Open an odometry or SemanticKITTI sequence."""
    name = clean_id(folder.resolve().name)
    clip = _open_bare(folder / "velodyne", sensor)
    files = list(clip.read_sweep.files)
    numbers = _numbers(files)
    labels = tuple(_if_there(folder / "labels" / f"{file.stem}.label") for file in files)
    sweeps = PointSweeps(name, tuple(files), labels=labels if any(labels) else None)
    all_times, notes = _sequence_times(folder, name, int(numbers.max()) + 1, sensor)
    middle = all_times[numbers]
    clip = replace(clip, clip_id=name, source=folder, notes=notes)
    clip = clip.with_lidar(read=sweeps, timestamps_us=_around(middle, sensor))
    calibration = folder / "calib.txt"
    rows = text.read_calibration(calibration, name) if calibration.is_file() else None
    track = None
    if rows is None:
        clip = replace(clip, notes=(*clip.notes, "no calib.txt: no cameras"))
    else:
        camera_SE3_lidar = text.pose_from_rows(
            text.calibration_row(rows, ("Tr", "Tr_velo_to_cam"), 12, calibration, name)
        )
        track = _sequence_track(folder, name, all_times, camera_SE3_lidar)
    clip = _with_track(clip, track, middle, "no poses" if rows is not None else "no poses without calib.txt")
    if rows is None:
        return clip
    return replace(clip, cameras=_by_name(_sequence_cameras(folder, name, rows, camera_SE3_lidar, all_times, track)))


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


def _sequence_track(folder: Path, name: str, times: np.ndarray, camera_SE3_lidar: np.ndarray) -> _Track | None:
    """Return the poses of the lidar; the file has those of the left camera, turned here into the axes of the lidar."""
    places = (folder.parent.parent / "poses" / f"{folder.name}.txt", folder / "poses.txt")
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        return None
    poses = text.read_poses(file, name)
    if len(poses) > len(times) or len(poses) < len(times) - 1:
        raise DataError(
            f"{len(poses)} poses for {len(times)} frames", file=file, clip=name, wanted="one line per frame"
        )
    return _Track(np.linalg.inv(camera_SE3_lidar) @ poses @ camera_SE3_lidar, times[: len(poses)])


def _sequence_cameras(
    folder: Path, name: str, rows: dict, camera0_SE3_lidar: np.ndarray, times: np.ndarray, track: _Track | None
) -> Iterator[CameraStream]:
    for index in range(4):
        pictures = sorted((folder / f"image_{index}").glob("*.png"))
        if pictures and int(_numbers(pictures).max()) < len(times):
            projection = text.calibration_row(rows, (f"P{index}",), 12, folder / "calib.txt", name)
            moments = times[_numbers(pictures)]
            yield _camera(f"image_{index}", pictures, projection, camera0_SE3_lidar, moments, track, name)


def _by_name(cameras: Iterator[CameraStream]) -> dict[str, CameraStream]:
    return {camera.name: camera for camera in cameras}


def _camera(
    camera: str,
    pictures: list[Path],
    projection: np.ndarray,
    rectified_SE3_lidar: np.ndarray,
    times_us: np.ndarray,
    track: _Track | None,
    clip: str,
) -> CameraStream:
    lens, camera_SE3_rectified = text.split_projection(projection, *picture_size(pictures[0]))
    lidar_SE3_camera = np.linalg.inv(camera_SE3_rectified @ rectified_SE3_lidar)
    poses = None if track is None else track.at(times_us) @ lidar_SE3_camera
    return CameraStream(camera, times_us, PictureFiles(tuple(pictures), clip), lens, poses, lidar_SE3_camera)


def _open_object(folder: Path, file: Path, sensor: Sensor) -> Clip:
    """Open one frame of an object folder."""
    name = clean_id(f"{folder.name}_{file.stem}")
    calibration = folder / "calib" / f"{file.stem}.txt"
    rows = text.read_calibration(calibration, name)
    rectify = text.pose_from_rows(text.calibration_row(rows, ("R0_rect", "R_rect"), 9, calibration, name))
    mount = text.pose_from_rows(text.calibration_row(rows, ("Tr_velo_to_cam", "Tr_velo_cam"), 12, calibration, name))
    middle = np.array([500_000 / sensor.spin_hz]).astype(np.int64)
    cameras = {}
    for index in (2, 3):
        picture = folder / f"image_{index}" / f"{file.stem}.png"
        if picture.is_file():
            projection = text.calibration_row(rows, (f"P{index}",), 12, calibration, name)
            camera = _camera(f"image_{index}", [picture], projection, rectify @ mount, middle, None, name)
            cameras[camera.name] = camera
    notes = ("a single frame of the object set: no times, no poses",)
    sweeps = PointSweeps(name, (file,))
    return one_lidar_clip(
        name, sensor, (file.stem,), _around(middle, sensor), sweeps, file, "kitti",
        motion_compensated=True, cameras=cameras, notes=notes, name=_LIDAR,
    )  # fmt: skip


def _open_raw(folder: Path, sensor: Sensor) -> Clip:
    """Open a drive of the raw recordings; its calibration lies in the folder of the day, above it."""
    name, scans = clean_id(folder.resolve().name), folder / "velodyne_points"
    files = _scans(scans / "data", name)
    numbers = _numbers(files)
    middle, ends, notes = _raw_times(scans, numbers, name, sensor)
    track = _raw_track(folder, name)
    # Only the synchronised drives (…_sync) have been motion compensated; the others (…_extract) are as measured.
    compensated = not name.endswith("_extract")
    frames, sweeps = tuple(file.stem for file in files), PointSweeps(name, tuple(files))
    clip = one_lidar_clip(name, sensor, frames, ends, sweeps, folder, "kitti",
                          motion_compensated=compensated, notes=notes, name=_LIDAR)  # fmt: skip
    if compensated or track is None:
        clip = _with_track(clip, track, middle, "no poses: oxts or calib_imu_to_velo.txt is missing")
    else:
        clip = clip.with_lidar(world_SE3_lidar=track.at(ends))
    return replace(clip, cameras=_by_name(_raw_cameras(folder, name, track)))


def _raw_times(
    scans: Path, numbers: np.ndarray, name: str, sensor: Sensor
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return middles (N,), starts and ends (N, 2), and remarks."""
    files = [scans / f"timestamps{part}.txt" for part in ("", "_start", "_end")]
    if not all(file.is_file() for file in files):
        middle = (numbers + 0.5) * (1e6 / sensor.spin_hz)
        return middle, _around(middle, sensor), ("no timestamps*.txt: frame numbers at the usual rate",)
    times = [_clock_times_of(file, numbers, name) for file in files]
    return times[0], np.stack(times[1:], -1), ()


def _clock_times_of(file: Path, numbers: np.ndarray, name: str) -> np.ndarray:
    """Return the times in the lines of these numbers: frames can be missing, their lines are not."""
    times = text.read_clock_times(file, name)
    if numbers.max() >= len(times):
        problem = f"{len(times)} times for frame numbers up to {numbers.max()}"
        raise DataError(problem, file=file, clip=name, wanted="one line per frame number")
    return times[numbers]


def _raw_track(folder: Path, name: str) -> _Track | None:
    files = sorted((folder / "oxts" / "data").glob("*.txt"))
    calibration = folder.parent / "calib_imu_to_velo.txt"
    clock = folder / "oxts" / "timestamps.txt"
    if not files or not calibration.is_file() or not clock.is_file():
        return None
    lidar_SE3_unit = _rigid_rows(text.read_calibration(calibration, name), "R", "T", calibration, name)
    times = _clock_times_of(clock, _numbers(files), name)
    return _Track(text.read_navigation(files, name) @ np.linalg.inv(lidar_SE3_unit), times)


def _rigid_rows(rows: dict, rotation: str, translation: str, file: Path, clip: str) -> np.ndarray:
    turn = text.calibration_row(rows, (rotation,), 9, file, clip)
    return text.pose_from_rows(turn, text.calibration_row(rows, (translation,), 3, file, clip))


def _raw_cameras(folder: Path, name: str, track: _Track | None) -> Iterator[CameraStream]:
    lidar_file, camera_file = folder.parent / "calib_velo_to_cam.txt", folder.parent / "calib_cam_to_cam.txt"
    if not lidar_file.is_file() or not camera_file.is_file():
        return
    mount = _rigid_rows(text.read_calibration(lidar_file, name), "R", "T", lidar_file, name)
    rows = text.read_calibration(camera_file, name)
    rectify = text.pose_from_rows(text.calibration_row(rows, ("R_rect_00",), 9, camera_file, name))
    for index in range(4):
        camera = f"image_{index:02d}"
        pictures, clock = sorted((folder / camera / "data").glob("*.png")), folder / camera / "timestamps.txt"
        if pictures and clock.is_file():
            projection = text.calibration_row(rows, (f"P_rect_{index:02d}",), 12, camera_file, name)
            times = _clock_times_of(clock, _numbers(pictures), name)
            yield _camera(camera, pictures, projection, rectify @ mount, times, track, name)
