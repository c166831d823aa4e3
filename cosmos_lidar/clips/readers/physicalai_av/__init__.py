"""NVIDIA PhysicalAI-Autonomous-Vehicles: clips of 20 s, Draco clouds in Parquet files, seven f-theta cameras.

Read are folders of clips (``CLIP/lidar, camera, labels, calibration``), the unpacked dataset and its chunk zips, whose
members are stored uncompressed and read in place. Needs the extras ``draco`` and ``parquet``.

Points lie in axes of the lidar (x forward, y left, z up) where it saw them at their own times, which ``time_us`` has.
With the lidar's model (``lidar_intrinsics``) sweeps are range images: ``model_element`` names the pixel of each return.
Returns in the box of the vehicle (``vehicle_dimensions``) and 0.5 m around it are left out, and counted in
``without_return``. Intensity is 0 to 255.

Poses are those of ``egomotion`` at its own rate, interpolated to starts and ends of spins and to images. Axes of the
vehicle have their origin at the rear axle on the ground. Tables and labels named ``.offline`` are better and preferred.
The stamp of an image is the middle of its readout: its recorded end less half of ``shutter_delay_us``.

Older releases are read too: ``reference_timestamp`` is the start of a spin of 100 ms, times of points (in colors there)
are not read, lenses have columns of their own. Boxes are those of ``obstacle``. Not read: radar, blurred boxes and
masks of the vehicle.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip, LidarStream
from cosmos_lidar.clips.files import clean_id
from cosmos_lidar.clips.parquet import numbers, read_columns
from cosmos_lidar.clips.poses import interpolate_poses, pose_from_quaternion
from cosmos_lidar.clips.readers._each import OnError, open_each
from cosmos_lidar.clips.readers.physicalai_av.boxes import OBSTACLES, ObstacleBoxes
from cosmos_lidar.clips.readers.physicalai_av.calibration import (
    POSE,
    Calibration,
    Row,
    lens_of,
    lidar_sensor,
    pose_of,
    shutter_us,
    variant_note,
    vehicle_box,
)
from cosmos_lidar.clips.readers.physicalai_av.layout import LIDAR, OFFLINE, find_files, is_layout
from cosmos_lidar.clips.readers.physicalai_av.sweeps import DracoSweeps
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.clips.spans import FileSpan
from cosmos_lidar.clips.video import VideoFile
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.camera_models import windshield_note
from cosmos_lidar.sensors.sensor import Sensor, load_sensor

DESCRIPTION = "NVIDIA PhysicalAI-Autonomous-Vehicles: clip folders, the unpacked dataset, chunk zips read in place"
EXAMPLE_LAYOUT = """
CLIP/lidar/<clip>.lidar_top_360fov.parquet
CLIP/calibration/sensor_extrinsics.offline.parquet, CLIP/calibration/lidar_intrinsics.offline.parquet  (optional)
CLIP/camera/<clip>.camera_front_wide_120fov.mp4, CLIP/labels/<clip>.egomotion.offline.parquet  (optional)

lidar/lidar_top_360fov/lidar_top_360fov.chunk_0000.zip
calibration/sensor_extrinsics.offline/sensor_extrinsics.offline.chunk_0000.parquet  (optional)
camera/camera_front_wide_120fov/camera_front_wide_120fov.chunk_0000.zip  (optional)
labels/egomotion.offline/egomotion.offline.chunk_0000.zip, features.csv, clip_index.parquet  (optional)
"""
_MARGIN_M = 0.5  # around the vehicle's box
_SPIN_US = 100_000
_WITHOUT_MODEL = "pandar128_row_offset"
_SPINS = ("spin_start_timestamp", "spin_end_timestamp", "reference_timestamp")


def recognise(path: Path) -> Strength:
    """Return EXACT where ``path`` has the names of the dataset: a clip, a folder of clips, the dataset, a chunk."""
    return Strength.EXACT if is_layout(path) else Strength.NONE


def open_clips(path: Path, sensor: Sensor | None = None, on_error: OnError | None = None) -> list[Clip]:
    """Return one clip per recorded clip with a lidar or a camera on disk.

    Args:
        path: a folder or a file of the lidar.
        sensor: in place of the model of the lidar; sweeps are then points.
        on_error: takes the error of a clip that cannot be opened.

    Raises:
        DataError: a broken zip, table or clip, or no clip at all.
    """
    clips: list[Clip] = []
    for files in find_files(path):
        calibration = Calibration(files)
        names = [name for name, spans in sorted(files.clips.items()) if _has_sensor(spans)]
        clips += open_each((partial(_open_clip, name, calibration, sensor, path) for name in names), on_error)
        if not names:
            raise DataError("no clip in it", file=path, wanted=f"CLIP.{LIDAR}.parquet, or videos with time stamps")
    return clips


def _has_sensor(spans: dict[str, FileSpan]) -> bool:
    return LIDAR in spans or any(_is_camera(name, spans) for name in spans)


def _is_camera(name: str, spans: dict[str, FileSpan]) -> bool:
    return name.startswith("camera_") and f"{name}.timestamps" in spans


def _open_clip(name: str, calibration: Calibration, sensor: Sensor | None, source: Path) -> Clip:
    spans, notes = calibration.files.clips[name], _Notes()
    variant, mounts = calibration.rows(name, "sensor_extrinsics")
    notes.add(variant_note("sensor_extrinsics", variant))
    poses = {key: pose_of(row) for key, row in mounts.items() if key == LIDAR or _is_camera(key, spans)}
    motion = _egomotion(spans, name, notes)
    lidars: dict[str, LidarStream] = {}
    if LIDAR in spans:
        lidars[LIDAR] = _lidar(name, calibration, sensor, poses.get(LIDAR), motion, notes)
    cameras = _cameras(name, calibration, poses, motion, notes)
    boxes = _boxes(spans, name, motion)
    return Clip(clean_id(name), source, "physicalai_av", lidars, cameras, tuple(notes), boxes=boxes)


def _boxes(spans: dict[str, FileSpan], clip: str, motion: _Motion | None) -> ObstacleBoxes | None:
    """Return the boxes of a clip; None without labels, or poses that take them into the world."""
    name = next((name for name in OBSTACLES if name in spans), None)
    return None if name is None or motion is None else ObstacleBoxes(spans[name], clip, partial(motion.of, np.eye(4)))


class _Notes(list[str]):
    def add(self, note: str | None) -> None:
        if note is not None:
            self.append(note)


class _Motion:
    """Poses of the vehicle, (K, 4, 4), and their times, (K,) microseconds."""

    def __init__(self, poses: np.ndarray, times_us: np.ndarray) -> None:
        self.poses, self.times_us = poses, times_us

    def of(self, ego_SE3_sensor: np.ndarray, times_us: np.ndarray) -> np.ndarray:
        """Return the poses of a sensor at any times."""
        return interpolate_poses(self.poses, self.times_us, times_us) @ ego_SE3_sensor

    def missing_us(self, times_us: np.ndarray) -> int:
        """Return how far the times reach beyond those of the poses."""
        return int(max(self.times_us[0] - times_us.min(), times_us.max() - self.times_us[-1], 0))


def _egomotion(spans: dict[str, FileSpan], clip: str, notes: _Notes) -> _Motion | None:
    name = next((name for name in ("egomotion" + OFFLINE, "egomotion") if name in spans), None)
    notes.add(variant_note("egomotion", name))
    if name is None:
        return None
    source = spans[name]
    keys = ("timestamp", *POSE)
    columns = read_columns(source, keys, clip)
    _expect_columns(columns, keys, source, clip)
    times = numbers(columns["timestamp"], np.int64, "timestamp", source, clip)
    values = np.stack([numbers(columns[key], np.float64, key, source, clip) for key in POSE], 1)
    _expect_increasing(times, "timestamp", source, clip)
    if (abs(np.linalg.norm(values[:, :4], axis=1) - 1) > 1e-2).any():
        problem = "quaternions that are not of unit length"
        raise DataError(problem, file=source.path, clip=clip, key="qw qx qy qz", wanted="rotations")
    poses = np.stack([pose_from_quaternion(list(row[:4]), list(row[4:])) for row in values])
    return _Motion(poses, times)


def _lidar(
    clip: str,
    calibration: Calibration,
    given: Sensor | None,
    mounting: np.ndarray | None,
    motion: _Motion | None,
    notes: _Notes,
) -> LidarStream:
    source = calibration.files.clips[clip][LIDAR]
    times = _spins(source, clip, notes)
    sensor, shape = _sensor(clip, calibration, given, notes)
    _, sizes = calibration.rows(clip, "vehicle_dimensions")
    box = vehicle_box(sizes, _MARGIN_M)
    if box is None or mounting is None:
        notes.add("returns of the vehicle itself are not left out: its size or the lidar's mounting is unknown")
    else:
        notes.add(f"returns in the vehicle's box and {_MARGIN_M} m around it are left out, as without return")
    poses = None
    if motion is not None and mounting is not None:
        poses = motion.of(mounting, times)
        beyond = motion.missing_us(times)
        if beyond:
            notes.add(f"egomotion ends {beyond / 1000:.1f} ms short of the sweeps: poses there are extrapolated")
    return LidarStream(
        LIDAR,
        sensor,
        tuple(f"{number:06d}" for number in range(len(times))),
        times,
        DracoSweeps(clip, source, times[:, 0], shape, mounting, box),
        poses,
        ego_SE3_lidar=mounting,
    )


def _spins(source: FileSpan, clip: str, notes: _Notes) -> np.ndarray:
    """Return (N, 2) int64 start and end of each spin."""
    columns = read_columns(source, _SPINS, clip)
    if "spin_start_timestamp" not in columns and "reference_timestamp" in columns:
        starts = numbers(columns["reference_timestamp"], np.int64, "reference_timestamp", source, clip)
        ends = starts + _SPIN_US
        notes.add("an older release: spins last 100 ms from reference_timestamp, times of points are not read")
    else:
        _expect_columns(columns, _SPINS[:2], source, clip)
        starts, ends = (numbers(columns[key], np.int64, key, source, clip) for key in _SPINS[:2])
    _expect_increasing(starts, "spin_start_timestamp", source, clip)
    if (ends <= starts).any():
        row = int(np.argmax(ends <= starts))
        found = f"row {row} ends at {ends[row]} and starts at {starts[row]}"
        raise DataError(found, file=source.path, clip=clip, key="spin_end_timestamp", wanted="ends after starts")
    return np.stack([starts, ends], 1)


def _sensor(
    clip: str, calibration: Calibration, given: Sensor | None, notes: _Notes
) -> tuple[Sensor, tuple[int, int] | None]:
    """Return the sensor, and its shape where elements of the clouds are its pixels."""
    if given is not None:
        return given, None
    variant, rows = calibration.rows(clip, "lidar_intrinsics")
    if variant is None:
        notes.add(f"no table lidar_intrinsics: range maps are those of {_WITHOUT_MODEL}, projected")
        return load_sensor(_WITHOUT_MODEL), None
    sensor, deviation = lidar_sensor(rows)
    if deviation > 1e-5:
        notes.add(
            f"columns of the lidar's model deviate by up to {np.degrees(deviation):.3f} degrees from even spacing"
        )
    return sensor, sensor.shape


def _cameras(
    clip: str,
    calibration: Calibration,
    mounts: dict[str, np.ndarray],
    motion: _Motion | None,
    notes: _Notes,
) -> dict[str, CameraStream]:
    spans = calibration.files.clips[clip]
    names = [name for name in sorted(spans) if _is_camera(name, spans)]
    if not names:
        return {}
    variant, rows = calibration.rows(clip, "camera_intrinsics")
    notes.add(variant_note("camera_intrinsics", variant))
    return {name: _camera(name, clip, spans, rows.get(name), mounts, motion, notes) for name in names}


def _camera(
    name: str,
    clip: str,
    spans: dict[str, FileSpan],
    row: Row | None,
    mounts: dict[str, np.ndarray],
    motion: _Motion | None,
    notes: _Notes,
) -> CameraStream:
    source, video, mounting = spans[f"{name}.timestamps"], spans[name], mounts.get(name)
    columns = read_columns(source, ("timestamp",), clip)
    _expect_columns(columns, ("timestamp",), source, clip)
    times = numbers(columns["timestamp"], np.int64, "timestamp", source, clip)
    _expect_increasing(times, "timestamp", source, clip)
    lens = None if row is None else lens_of(row)
    if row is not None:
        times = times - shutter_us(row) // 2
        if lens is None:
            notes.add(f"{name}: no lens, as {row.values.get('model_type')!r:.40} is not read")
        if row.values.get("model_parameters") is not None:
            notes.add(windshield_note(name, row.document("model_parameters")))
    lidar = mounts.get(LIDAR)
    return CameraStream(
        name,
        times,
        VideoFile(video.path, clip, span=None if video.member is None else video),
        lens,
        None if motion is None or mounting is None else motion.of(mounting, times),
        None if lidar is None or mounting is None or LIDAR not in spans else np.linalg.inv(lidar) @ mounting,
        mounting,
    )


def _expect_columns(columns: dict[str, list], wanted: Iterable[str], source: FileSpan, clip: str) -> None:
    missing = [key for key in wanted if key not in columns]
    if missing:
        text = f"the columns {', '.join(wanted)}"
        raise DataError("no such column", file=source.path, clip=clip, key=missing[0], wanted=text)


def _expect_increasing(times: np.ndarray, key: str, source: FileSpan, clip: str) -> None:
    if not len(times) or (np.diff(times) <= 0).any():
        row = int(np.argmax(np.diff(times) <= 0)) + 1 if len(times) else 0
        found = f"row {row} is not later than the one before" if len(times) else "no row"
        raise DataError(found, file=source.path, clip=clip, key=key, wanted="increasing microseconds")
