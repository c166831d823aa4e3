"""Segments of Parquet components as clips; column names are those of the published component classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip, LidarStream
from cosmos_lidar.clips.files import clean_id
from cosmos_lidar.clips.parquet import numbers, read_columns
from cosmos_lidar.clips.parquet_rows import RowReader
from cosmos_lidar.clips.poses import interpolate_poses
from cosmos_lidar.clips.readers.waymo.geometry import CAMERAS, LIDARS, TOP, LidarGeometry, lidar_geometry
from cosmos_lidar.clips.readers.waymo.segment import Segment, camera_stream, lidar_stream, make_clip
from cosmos_lidar.clips.readers.waymo_v2.boxes import ComponentBoxes
from cosmos_lidar.clips.readers.waymo_v2.layout import SegmentFiles
from cosmos_lidar.clips.readers.waymo_v2.sweeps import IMAGE, LIDAR, Images, RangeImages, Tables, image_columns
from cosmos_lidar.clips.spans import FileSpan
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.rigid import pose_of_file
from cosmos_lidar.sensors.sensor import Sensor

_TIME, _LASER, _CAMERA = "key.frame_timestamp_micros", "key.laser_name", "key.camera_name"
_NAME = "key.segment_context_name"
_INTRINSICS = ("f_u", "f_v", "c_u", "c_v", "k1", "k2", "p1", "p2", "k3")
# Table -> component, and the class whose name begins its columns.
_PARTS = {
    "poses": ("lidar_pose", "LiDARPoseComponent"),
    "labels": ("lidar_segmentation", "LiDARSegmentationLabelComponent"),
    "projections": ("lidar_camera_projection", "LiDARCameraProjectionComponent"),
}


@dataclass(frozen=True)
class _Table:
    """Some columns of a file."""

    path: Path
    clip_id: str
    columns: dict[str, list[Any]]

    @classmethod
    def read(cls, path: Path, clip_id: str, names: Sequence[str]) -> _Table:
        """Read columns, all of which must be there."""
        found = read_columns(FileSpan(path), names, clip_id)
        missing = [name for name in names if name not in found]
        if missing:
            raise DataError("no such column", file=path, clip=clip_id, key=missing[0], wanted="a v2 component")
        return cls(path, clip_id, found)

    def integers(self, name: str) -> np.ndarray:
        return numbers(self.columns[name], np.int64, name, FileSpan(self.path), self.clip_id)

    def pose(self, name: str, row: int) -> np.ndarray:
        """Return the (4, 4) pose in a row of 16 numbers."""
        values = self.columns[name][row]
        if not isinstance(values, list) or len(values) != 16 or None in values:
            values = []
        square = np.array(values, object).reshape(4, 4).tolist() if values else values
        return pose_of_file(square, self.path, f"{name}, row {row}", "to the axes of the vehicle or the world")

    def rows(self, key: str, names: dict[int, str]) -> dict[int, dict[int, int]]:
        """Return number of the sensor -> time of the frame -> row."""
        found: dict[int, dict[int, int]] = {}
        by_name = {name: number for number, name in names.items()}  # some files have names in place of numbers
        numbered = [by_name.get(value, value) for value in self.columns[key]]
        sensors = numbers(numbered, np.int64, key, FileSpan(self.path), self.clip_id)
        times = self.integers(_TIME) if _TIME in self.columns else np.zeros(len(self.columns[key]), np.int64)
        for row, (number, time) in enumerate(zip(sensors.tolist(), times.tolist(), strict=True)):
            if number not in names:
                known = ", ".join(f"{one} {name}" for one, name in names.items())
                raise self.error(f"{number}", f"{key}, row {row}", f"one of: {known}")
            if time in found.setdefault(number, {}):
                raise self.error(f"{names[number]} twice at {time} us", f"row {row}", "each row once")
            found[number][time] = row
        return found

    def error(self, problem: str, key: str, wanted: str) -> DataError:
        return DataError(problem, file=self.path, clip=self.clip_id, key=key, wanted=wanted)


def open_segment(files: SegmentFiles, sensor: Sensor | None) -> Clip:
    """Return the clip of a segment.

    Raises:
        DataError: a component that is needed is missing, or one is broken.
    """
    segment = _segment(files)
    cameras = list(_cameras(files, segment))
    lidars = list(_lidars(files, segment, cameras))
    remarks = []
    if any(one.name == LIDARS[TOP] and not one.motion_compensated for one in lidars):
        remarks = ["TOP: no lidar_pose on disk, its points are not compensated for motion"]
    path, middles = files.file("lidar_box"), segment.spans_us.sum(1) // 2
    clip = make_clip(segment, lidars, cameras, sensor, remarks)
    if path is None:
        return clip
    return replace(clip, boxes=ComponentBoxes(path, segment.clip_id, segment.times_us, middles, segment.world_SE3_ego))


def _segment(files: SegmentFiles) -> Segment:
    clip_id, column = clean_id(files.name), "[VehiclePoseComponent].world_from_vehicle.transform"
    table = _Table.read(files.needed("vehicle_pose", "times and poses of frames"), clip_id, (_NAME, _TIME, column))
    times = table.integers(_TIME)
    if len({str(name) for name in table.columns[_NAME]}) != 1:
        raise table.error(f"{len(set(map(str, table.columns[_NAME])))} segments", _NAME, "one segment per file")
    order = np.argsort(times, kind="stable")
    poses = np.stack([table.pose(column, row) for row in order.tolist()])
    segment = Segment(clip_id, files.folder, "waymo_v2", times[order], poses)
    segment.check_times()
    return segment


def _cameras(files: SegmentFiles, segment: Segment) -> list[CameraStream]:
    path = files.file("camera_image")
    if path is None:
        return []
    pose, time = f"{IMAGE}.pose.transform", f"{IMAGE}.pose_timestamp"
    table = _Table.read(path, segment.clip_id, (_TIME, _CAMERA, pose, time))
    lenses = _lenses(files, segment)
    streams = []
    for number, by_time in sorted(table.rows(_CAMERA, CAMERAS).items()):
        rows = [by_time[at] for at in sorted(by_time)]
        if number not in lenses:
            raise table.error(f"no calibration of {CAMERAS[number]}", _CAMERA, "it in camera_calibration")
        seconds = numbers([table.columns[time][row] for row in rows], np.float64, time, FileSpan(path), segment.clip_id)
        poses = np.stack([table.pose(pose, row) for row in rows])
        read = Images(RowReader(path, (f"{IMAGE}.image",), segment.clip_id), CAMERAS[number], tuple(rows))
        times = np.rint(seconds * 1e6).astype(np.int64)
        streams.append(camera_stream(segment, CAMERAS[number], times, poses, lenses[number], read))
    return streams


def _lenses(files: SegmentFiles, segment: Segment) -> dict[int, tuple[tuple[float, ...], tuple[int, int], np.ndarray]]:
    """Return camera -> intrinsics, width and height, mounting."""
    part = "[CameraCalibrationComponent]"
    names = [f"{part}.intrinsic.{name}" for name in _INTRINSICS]
    extrinsic, size = f"{part}.extrinsic.transform", [f"{part}.width", f"{part}.height"]
    path = files.needed("camera_calibration", "the lenses of camera_image")
    table = _Table.read(path, segment.clip_id, (_CAMERA, *names, extrinsic, *size))
    found = {}
    for number, by_time in table.rows(_CAMERA, CAMERAS).items():
        row = by_time[0]
        values = {name: [table.columns[name][row]] for name in (*names, *size)}
        lens = [numbers(values[name], np.float64, name, FileSpan(path), segment.clip_id)[0] for name in names]
        width, height = (int(numbers(values[one], np.int64, one, FileSpan(path), segment.clip_id)[0]) for one in size)
        found[number] = (tuple(map(float, lens)), (width, height), table.pose(extrinsic, row))
    return found


def _lidars(files: SegmentFiles, segment: Segment, cameras: list[CameraStream]) -> list[LidarStream]:
    path = files.file("lidar")
    if path is None:
        return []
    shape = f"{LIDAR}.range_image_return1.shape"
    table = _Table.read(path, segment.clip_id, (_TIME, _LASER, shape))
    beams = _beams(files, segment)
    parts = {name: _part(files, segment, component) for name, (component, _) in _PARTS.items()}
    streams = []
    for number, by_time in sorted(table.rows(_LASER, LIDARS).items()):
        held = {time: row for time, row in sorted(by_time.items()) if table.columns[shape][row]}
        if not held:
            continue
        if number not in beams:
            raise table.error(f"no calibration of {LIDARS[number]}", _LASER, "it in lidar_calibration")
        geometry = _geometry(number, beams[number], table, shape, next(iter(held.values())))
        rows = {"lidar": held, **{name: part.get(number, {}) for name, part in parts.items()}}
        streams.append(_lidar(files, segment, geometry, rows, cameras))
    return streams


def _lidar(
    files: SegmentFiles,
    segment: Segment,
    geometry: LidarGeometry,
    rows: dict[str, dict[int, int]],
    cameras: list[CameraStream],
) -> LidarStream:
    times = list(rows["lidar"])
    frames = np.searchsorted(segment.times_us, times).clip(0, len(segment.times_us) - 1)
    unknown = np.flatnonzero(segment.times_us[frames] != times)
    if len(unknown):
        problem = f"no vehicle_pose at {times[unknown[0]]} us"
        raise DataError(problem, file=files.folder, clip=segment.clip_id, key=geometry.name, wanted="both components")
    has_poses = any(time in rows["poses"] for time in times)
    ends = _ends(segment, frames, cameras) if geometry.name == LIDARS[TOP] or has_poses else {}
    at = {name: tuple(one.get(time) for time in times) for name, one in rows.items()}

    def make_read(world_SE3_lidar: np.ndarray) -> RangeImages:
        tables = {name: _reader(files, segment, component, part) for name, (component, part) in _PARTS.items()}
        lidar = RowReader(files.needed("lidar", "range images"), image_columns(LIDAR), segment.clip_id)
        return RangeImages(Tables(lidar, **tables), geometry, at, world_SE3_lidar)

    return lidar_stream(segment, geometry, frames, ends, make_read, compensated=has_poses or not ends)


def _ends(segment: Segment, frames: np.ndarray, cameras: list[CameraStream]) -> dict[int, np.ndarray]:
    """Return frame -> (2, 4, 4) the vehicle at start and end of its sweep."""
    spans = segment.spans_us[frames]
    times, poses = segment.spans_us.sum(1) / 2, segment.world_SE3_ego
    if cameras:
        of_cameras = [
            np.asarray(one.world_SE3_camera) @ np.linalg.inv(np.asarray(one.ego_SE3_camera)) for one in cameras
        ]
        times, first = np.unique(np.concatenate([one.timestamps_us for one in cameras]), return_index=True)
        poses = np.concatenate(of_cameras)[first]
    found = interpolate_poses(poses, times - float(segment.times_us[0]), spans - segment.times_us[0])
    return dict(zip(frames.tolist(), found, strict=True))


def _geometry(
    number: int, beams: tuple[np.ndarray, tuple[float, float], np.ndarray], table: _Table, key: str, row: int
) -> LidarGeometry:
    shape = table.columns[key][row]
    rows = len(beams[0]) or (shape[0] if shape else 0)
    if len(shape) != 3 or None in shape or min(shape) < 1 or shape[0] != rows or shape[2] != 4:
        raise table.error(f"a range image of shape {shape}", f"{key}, row {row}", f"{rows or 'rows'}, columns, 4")
    geometry = lidar_geometry(number, *beams, (shape[0], shape[1]))
    if (np.diff(geometry.sensor.row_elevations_rad) >= 0).any():
        raise table.error(f"beam inclinations of {LIDARS[number]} that do not rise", "lidar_calibration", "rising ones")
    return geometry


def _beams(files: SegmentFiles, segment: Segment) -> dict[int, tuple[np.ndarray, tuple[float, float], np.ndarray]]:
    """Return lidar -> inclinations, their limits, mounting."""
    part = "[LiDARCalibrationComponent]"
    low, high, values = (f"{part}.beam_inclination.{name}" for name in ("min", "max", "values"))
    extrinsic = f"{part}.extrinsic.transform"
    path = files.needed("lidar_calibration", "the beams of lidar")
    table = _Table.read(path, segment.clip_id, (_LASER, low, high, values, extrinsic))
    found = {}
    for number, by_time in table.rows(_LASER, LIDARS).items():
        row = by_time[0]
        rising = numbers(table.columns[values][row] or [], np.float64, values, FileSpan(path), segment.clip_id)
        ends = numbers(
            [table.columns[one][row] for one in (low, high)], np.float64, low, FileSpan(path), segment.clip_id
        )
        found[number] = (rising, (float(ends[0]), float(ends[1])), table.pose(extrinsic, row))
    return found


def _part(files: SegmentFiles, segment: Segment, component: str) -> dict[int, dict[int, int]]:
    """Return lidar -> time -> row of a component; empty where it is not on disk."""
    path = files.file(component)
    return {} if path is None else _Table.read(path, segment.clip_id, (_TIME, _LASER)).rows(_LASER, LIDARS)


def _reader(files: SegmentFiles, segment: Segment, component: str, part: str) -> RowReader | None:
    path = files.file(component)
    return None if path is None else RowReader(path, image_columns(f"[{part}]"), segment.clip_id)
