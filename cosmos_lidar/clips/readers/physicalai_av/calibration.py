"""Calibration of PhysicalAI-Autonomous-Vehicles: rows of a clip, mountings, f-theta lenses, the vehicle's box."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cosmos_lidar.clips.parquet import column_names, numbers, read_columns
from cosmos_lidar.clips.poses import pose_from_quaternion
from cosmos_lidar.clips.readers.physicalai_av.layout import LIDAR, OFFLINE, Files
from cosmos_lidar.clips.spans import FileSpan
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import parse_json
from cosmos_lidar.sensors.camera_models import lens_of_model
from cosmos_lidar.sensors.ftheta import FThetaCamera
from cosmos_lidar.sensors.pinhole import PinholeCamera
from cosmos_lidar.sensors.sensor import Sensor
from cosmos_lidar.sensors.structured_model import column_deviation_rad, sensor_of_model

POSE = ("qw", "qx", "qy", "qz", "x", "y", "z")
_CLIP = ("clip_id", "__index_level_0__")
_SENSOR = ("sensor_name", "camera_name", "lidar_name", "__index_level_1__")
_POLYNOMIAL = tuple(f"bw_poly_{order}" for order in range(6))
_VALUES = {
    "sensor_extrinsics": POSE,
    "camera_intrinsics": ("model_type", "model_parameters", "width", "height", "cx", "cy", *_POLYNOMIAL),
    "lidar_intrinsics": ("model_type", "model_parameters"),
    "vehicle_dimensions": ("length", "width", "height", "rear_axle_to_bbox_center"),
}


@dataclass(frozen=True)
class Row:
    """A row of a table of calibration.

    Attributes:
        file: the table.
        clip: for messages.
        sensor: of the row; empty in tables of the vehicle.
        values: by column; those of other generations of the dataset are missing.
    """

    file: FileSpan
    clip: str
    sensor: str
    values: dict[str, Any]

    def number(self, key: str) -> float:
        """Return a value.

        Raises:
            DataError: missing, or no finite number.
        """
        return float(numbers([self.values.get(key)], np.float64, self._key(key), self.file, self.clip)[0])

    def broken(self, problem: str, key: str, wanted: str) -> DataError:
        """Return the error of a value."""
        return DataError(problem, file=self.file.path, clip=self.clip, key=self._key(key), wanted=wanted)

    def document(self, key: str) -> dict[str, Any]:
        """Return a value that is JSON.

        Raises:
            DataError: no JSON, or no mapping.
        """
        text = self.values.get(key)
        try:
            document = parse_json(text) if isinstance(text, str | bytes) else None
        except ValueError as error:
            raise self.broken(f"not JSON: {error}", key, "the parameters of a model") from error
        if not isinstance(document, dict):
            raise self.broken(f"{text!r:.60}", key, "JSON, the parameters of a model")
        return document

    def _key(self, key: str) -> str:
        return f"{self.sensor} {key}".strip()


@dataclass
class Calibration:
    """Rows of the tables of one recording; every table is read once.

    Attributes:
        files: of the recording.
        tables: table -> clip (None where it is of one clip) -> sensor -> row.
    """

    files: Files
    tables: dict[FileSpan, dict[str | None, dict[str, Row]]] = field(default_factory=dict)

    def rows(self, clip: str, name: str) -> tuple[str | None, dict[str, Row]]:
        """Return the name of the table that has the clip, ``.offline`` preferred, and its rows by sensor.

        Returns:
            None and no rows where no such table is on disk.

        Raises:
            DataError: a table cannot be read, or the clip is in none that is there.
        """
        seen = None
        for variant, file in self.files.tables_of(clip, name):
            seen = file
            if file not in self.tables:
                self.tables[file] = _read_table(file, name)
            table = self.tables[file]
            rows = table.get(clip, table.get(None))
            if rows:
                return variant, {sensor: Row(file, clip, sensor, row.values) for sensor, row in rows.items()}
        if seen is not None:
            raise DataError("no row of this clip", file=seen.path, clip=clip, key="clip_id", wanted=f"{name} of it")
        return None, {}


def _read_table(file: FileSpan, name: str) -> dict[str | None, dict[str, Row]]:
    there = column_names(file)
    clip_key = next((key for key in _CLIP if key in there), None)
    sensor_key = next((key for key in _SENSOR if key in there), None)
    keys = [key for key in (clip_key, sensor_key) if key is not None]
    columns = read_columns(file, dict.fromkeys((*keys, *_VALUES[name])))
    table: dict[str | None, dict[str, Row]] = {}
    for number in range(max(map(len, columns.values()), default=0)):
        row = {key: values[number] for key, values in columns.items()}
        clip = None if clip_key is None else str(row[clip_key])
        sensor = "" if sensor_key is None else str(row[sensor_key])
        table.setdefault(clip, {})[sensor] = Row(file, clip or "", sensor, row)
    return table


def pose_of(row: Row) -> np.ndarray:
    """Return (4, 4) the mounting of a sensor: its axes to those of the vehicle, origin at the rear axle on the ground.

    Raises:
        DataError: missing or no numbers, or no quaternion.
    """
    values = [row.number(key) for key in POSE]
    if abs(np.linalg.norm(values[:4]) - 1) > 1e-2:
        raise row.broken(f"a quaternion of length {np.linalg.norm(values[:4]):.3g}", "qw qx qy qz", "unit length")
    return pose_from_quaternion(values[:4], values[4:])


def lidar_sensor(rows: dict[str, Row]) -> tuple[Sensor, float]:
    """Return the sensor of the lidar's model, and by how much its columns deviate from even spacing, radians.

    Raises:
        DataError: no row of the lidar, or a model that is broken or of another type.
    """
    row = rows.get(LIDAR) or rows.get("")
    if row is None:
        (first, *_) = rows.values()
        raise first.broken(f"rows of {', '.join(rows)}", LIDAR, "a row of the lidar")
    document = row.document("model_parameters")
    if row.values.get("model_type") is not None:
        document = {"lidar_model_type": row.values["model_type"], "lidar_model_parameters": document}
    sensor = sensor_of_model(document, LIDAR, row.file.path, row.clip)
    return sensor, column_deviation_rad(document)


def lens_of(row: Row) -> FThetaCamera | PinholeCamera | None:
    """Return the lens of a camera; None for models that are not read.

    Of the columns of older releases, the backward polynomial (pixels to angle) is taken.

    Raises:
        DataError: broken parameters.
    """
    try:
        if row.values.get("model_parameters") is None:
            return _lens_of_columns(row)
        return lens_of_model(str(row.values.get("model_type") or "ftheta"), row.document("model_parameters"))
    except DataError as error:
        if error.file is not None:
            raise
        raise row.broken(error.problem, error.key or "model_parameters", error.wanted or "a lens") from error


def _lens_of_columns(row: Row) -> FThetaCamera:
    cx, cy, width, height = (row.number(key) for key in ("cx", "cy", "width", "height"))
    polynomial = tuple(row.number(key) for key in _POLYNOMIAL if row.values.get(key) is not None)
    if len(polynomial) < 2:
        raise row.broken(f"{len(polynomial)} coefficients", "bw_poly", "bw_poly_0 and more")
    return FThetaCamera(cx, cy, int(width), int(height), polynomial, is_backward=True)


def shutter_us(row: Row) -> int:
    """Return how long the camera reads out an image, microseconds; 0 where the table does not have it."""
    if row.values.get("model_parameters") is None:
        return 0
    delay = row.document("model_parameters").get("shutter_delay_us", 0)
    if isinstance(delay, bool) or not isinstance(delay, int | float) or not 0 <= delay < 1e6:
        raise row.broken(f"{delay!r:.60}", "shutter_delay_us", "microseconds")
    return int(delay)


def vehicle_box(rows: dict[str, Row], margin_m: float) -> np.ndarray | None:
    """Return (2, 3) lowest and highest corner of the vehicle's box in its axes, enlarged; None without a row.

    Raises:
        DataError: missing sizes, or none above 0.
    """
    row = next(iter(rows.values()), None)
    if row is None:
        return None
    length, width, height, center = (row.number(key) for key in _VALUES["vehicle_dimensions"])
    if not 0 < min(length, width, height) <= max(length, width, height) < 100:
        raise row.broken(f"{length} x {width} x {height} m", "length width height", "the size of a vehicle in meters")
    low, high = [center - length / 2, -width / 2, 0.0], [center + length / 2, width / 2, height]
    return np.array([low, high]) + [[-margin_m], [margin_m]]


def variant_note(name: str, found: str | None) -> str | None:
    """Return the note about a table that was not found, or not in its better variant."""
    if found is None:
        return f"no table {name}"
    return None if found.endswith(OFFLINE) else f"{name} as driven: {name}{OFFLINE} is not there"
