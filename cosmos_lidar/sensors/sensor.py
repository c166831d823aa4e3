"""Sensor files (YAML) of spinning lidars: beam elevations, azimuths, range-map format.

Frame: x forward, y left, z up, meters. Azimuth is measured from x toward y, elevation from the x-y plane upwards.
Row 0 is the highest beam. Column 0 starts at ``first_azimuth_rad`` and columns advance clockwise (azimuth falls)
unless the file has other values, so that with the usual start of pi the middle column looks forward. Columns cover a
full circle, or of a lidar that faces one side the part of it up to ``end_azimuth_rad``.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
import yaml

from cosmos_lidar.bounds import read_file
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.files import parse_json, parse_yaml
from cosmos_lidar.sensors.rigid import pose_of_file


@dataclass(frozen=True)
class RangeMapFormat:
    """How a sensor's range maps become images for a tokenizer (Cosmos lidar tokenizer, published values as defaults).

    Attributes:
        min_range_m: smaller ranges, and "no return" (0), are clipped to this and become -1.
        max_range_m: larger ranges are clipped to this and become +1.
        pair_columns: that many neighboring columns are merged into one: the nearest return wins.
        repeat_rows: each row is repeated that often, to bring the image nearer to the aspect of a photograph.
        crop_columns: width of the center crop of wide maps for diffusion, in merged columns; 0 for none.
    """

    min_range_m: float = 5.0
    max_range_m: float = 100.0
    pair_columns: int = 2
    repeat_rows: int = 4
    crop_columns: int = 1792


@dataclass(frozen=True, eq=False)
class Sensor:
    """One spinning lidar model. Load it with :func:`load_sensor`.

    Attributes:
        name: short name, as in the file.
        row_elevations_rad: (rows,) float64, descending.
        row_azimuth_offsets_rad: (rows,) float64, added to the column azimuth: beam (r, c) looks at
            ``first_azimuth_rad -/+ (c + 0.5) * field_of_view_rad / columns + row_azimuth_offsets_rad[r]``.
        columns: columns per revolution, or in the part of a circle that is seen.
        first_azimuth_rad: azimuth of the leading edge of column 0 (before the row offset).
        clockwise: azimuth falls from column to column.
        max_range_m: farther returns are not placed in a range map.
        elevation_slack_rad: points that far above the top or below the bottom beam still belong to that beam.
        spin_hz: revolutions per second.
        range_step_m: step in which ranges are stored (uint16, so 65535 steps is the farthest that can be stored).
        format: how maps of this sensor are prepared for a tokenizer.
        vehicle_SE3_lidar: (4, 4) mounting pose on the vehicle (x forward, y left, z up, origin on the ground); None
            where unknown. Ray-conditioned networks use rays in vehicle axes where it is known.
        end_azimuth_rad: azimuth of the trailing edge of the last column (before the row offset) of a lidar that sees
            part of a circle; None for a full circle. A row with an offset has its part of the circle turned by it.
    """

    name: str
    row_elevations_rad: np.ndarray
    row_azimuth_offsets_rad: np.ndarray
    columns: int
    first_azimuth_rad: float = math.pi
    clockwise: bool = True
    max_range_m: float = 105.0
    elevation_slack_rad: float = math.radians(0.1)
    spin_hz: float = 10.0
    range_step_m: float = 0.002
    format: RangeMapFormat = RangeMapFormat()
    vehicle_SE3_lidar: np.ndarray | None = None
    end_azimuth_rad: float | None = None

    @property
    def field_of_view_rad(self) -> float:
        """Angle that the columns cover: 2 pi for a full circle."""
        if self.end_azimuth_rad is None:
            return 2.0 * math.pi
        turned = self.end_azimuth_rad - self.first_azimuth_rad
        return (-turned if self.clockwise else turned) % (2.0 * math.pi)

    @property
    def rows(self) -> int:
        """Number of beams."""
        return len(self.row_elevations_rad)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of a range map of this sensor."""
        return self.rows, self.columns

    def fingerprint(self) -> str:
        """Return a hash (12 hexadecimal digits) of everything that affects geometry or storage."""
        digest = hashlib.sha256()
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:  # fingerprints of stored shards predate the fields that may be None
                continue
            digest.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
        return digest.hexdigest()[:12]

    def to_yaml(self) -> str:
        """Return the text of a sensor file that :func:`load_sensor` reads back to the same sensor."""
        document = {
            "name": self.name,
            "columns": self.columns,
            "first_azimuth_rad": self.first_azimuth_rad,
            "clockwise": self.clockwise,
            "max_range_m": self.max_range_m,
            "elevation_slack_rad": self.elevation_slack_rad,
            "spin_hz": self.spin_hz,
            "range_step_m": self.range_step_m,
            "format": {f.name: getattr(self.format, f.name) for f in fields(self.format)},
            "row_elevations_rad": [float(v) for v in self.row_elevations_rad],
            "row_azimuth_offsets_rad": [float(v) for v in self.row_azimuth_offsets_rad],
        }
        if self.vehicle_SE3_lidar is not None:
            document["vehicle_SE3_lidar"] = self.vehicle_SE3_lidar.tolist()
        if self.end_azimuth_rad is not None:
            document["end_azimuth_rad"] = self.end_azimuth_rad
        return yaml.safe_dump(document, sort_keys=False)

    def with_rows(self, row_elevations_rad: np.ndarray, row_azimuth_offsets_rad: np.ndarray | None = None) -> Sensor:
        """Return this sensor with the beam angles of one calibrated unit, which has as many rows."""
        offsets = self.row_azimuth_offsets_rad if row_azimuth_offsets_rad is None else row_azimuth_offsets_rad
        elevations = np.asarray(row_elevations_rad, np.float64)
        return replace(self, row_elevations_rad=elevations, row_azimuth_offsets_rad=np.asarray(offsets, np.float64))

    def between_columns(self, first: int, end: int) -> Sensor:
        """Return the lidar that sees the columns ``first`` up to, not including, ``end`` of this one.

        Its range maps are the maps of this one, cut to these columns.

        Raises:
            UserError: these are not columns of this lidar.
        """
        if not 0 <= first < end <= self.columns:
            raise UserError(f"columns {first} to {end} of {self.columns}: expected 0 <= first < end <= {self.columns}")
        if (first, end) == (0, self.columns):
            return self
        step = (-1.0 if self.clockwise else 1.0) * self.field_of_view_rad / self.columns
        start, stop = (self.first_azimuth_rad + column * step for column in (first, end))
        return replace(self, columns=end - first, first_azimuth_rad=start, end_azimuth_rad=stop)


def uniform_sensor(
    rows: int,
    columns: int,
    elevation_top_deg: float = 15.0,
    elevation_bottom_deg: float = -25.0,
    name: str = "uniform",
    max_range_m: float = 105.0,
    format: RangeMapFormat = RangeMapFormat(),
) -> Sensor:
    """Return a sensor of ``rows`` evenly spaced beams without azimuth offsets."""
    elevations = np.radians(np.linspace(elevation_top_deg, elevation_bottom_deg, rows))
    slack = float(abs(elevations[0] - elevations[-1])) / (rows - 1) / 2.0 if rows > 1 else math.radians(0.1)
    return Sensor(
        name, elevations, np.zeros(rows), columns, max_range_m=max_range_m, elevation_slack_rad=slack, format=format
    )


def sensor_names() -> list[str]:
    """Return the names of the sensors that ship with the package."""
    folder = resources.files("cosmos_lidar.sensors") / "data"
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_sensor(name_or_path: str | Path) -> Sensor:
    """Load a sensor by its shipped name (see :func:`sensor_names`), of a sensor file (YAML) or a model (``.json``).

    Angles may be given in degrees or radians (``row_elevations_deg`` or ``row_elevations_rad``, likewise the offsets,
    ``first_azimuth_*`` and ``elevation_slack_*``); offsets default to zero. A ``.json`` is a structured lidar model as
    NVIDIA NCore writes it, see :mod:`cosmos_lidar.sensors.structured_model`; its sensor has the name of the file.
    Files are kept in memory until they change.

    Raises:
        UserError: the name is not known and no such file exists.
        DataError: the file is not a sensor description; the message names the key.
    """
    if str(name_or_path) in sensor_names():
        return _load_shipped(str(name_or_path))
    path = Path(name_or_path)
    if not path.is_file():
        raise UserError(
            f"unknown sensor {str(name_or_path)!r}: shipped are {', '.join(sensor_names())}; "
            "or give the path of a sensor file (docs/lidar_tokenizer.md, 'Bring your own sensor')"
        )
    status = path.stat()
    return _load_file(path, (status.st_ino, status.st_mtime_ns, status.st_size))


def parse_sensor(text: str, file: str | Path) -> Sensor:
    """Return the sensor of the text of a sensor file (YAML).

    Args:
        text: its content.
        file: that holds it, for error messages.

    Raises:
        DataError: no sensor description; the message names the key.
    """
    return _parse(text, str(file))


@lru_cache(maxsize=64)
def _load_shipped(name: str) -> Sensor:
    shipped = resources.files("cosmos_lidar.sensors") / "data" / f"{name}.yaml"
    return _parse(shipped.read_text(encoding="utf-8"), str(shipped))


@lru_cache(maxsize=64)
def _load_file(path: Path, state: tuple[int, ...]) -> Sensor:
    """Read a sensor file; ``state`` is there for the cache."""
    text = read_file(path, "a sensor file", 1 << 24).decode("utf-8", "replace")
    return _parse_model(text, path) if path.suffix == ".json" else _parse(text, str(path))


def _parse_model(text: str, path: Path) -> Sensor:
    from cosmos_lidar.sensors.structured_model import sensor_of_model

    try:
        document = parse_json(text)
    except ValueError as error:
        raise DataError(f"not a JSON file: {error}", file=path, wanted="a structured lidar model") from error
    return sensor_of_model(document, path.stem, path)


def _parse(text: str, file: str) -> Sensor:
    try:
        document = parse_yaml(text)
    except yaml.YAMLError as error:
        raise DataError(f"not a YAML file: {error}", file=file, wanted="a sensor file") from error
    if not isinstance(document, dict):
        raise DataError("not a sensor file", file=file, wanted="a mapping with name, columns, row_elevations_deg, …")
    document = {_to_radians_key(key): _to_radians(key, value, file) for key, value in document.items()}
    known = {field.name for field in fields(Sensor)}
    unknown = sorted(set(document) - known - {"description", "source"})
    missing = sorted({"name", "columns", "row_elevations_rad"} - set(document))
    if unknown or missing:
        key = (missing or unknown)[0]
        problem = "missing key" if missing else "unknown key"
        raise DataError(problem, file=file, key=key, wanted=f"the keys {', '.join(sorted(known))}")
    return _build(document, file)


def _to_radians_key(key: str) -> str:
    return key[:-4] + "_rad" if key.endswith("_deg") else key


def _to_radians(key: str, value: object, file: str) -> object:
    if not key.endswith(("_deg", "_rad")):
        return value
    try:
        angle = np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"not a number or list of numbers: {value!r}", file=file, key=key, wanted="angles") from error
    angle = np.radians(angle) if key.endswith("_deg") else angle
    return float(angle) if angle.ndim == 0 else angle


def _build(document: dict, file: str) -> Sensor:
    values = {key: value for key, value in document.items() if key not in ("description", "source")}
    elevations = np.atleast_1d(values.pop("row_elevations_rad"))
    offsets = np.atleast_1d(values.pop("row_azimuth_offsets_rad", np.zeros(len(elevations))))
    if not np.all(np.isfinite(elevations)) or np.any(np.diff(elevations) >= 0):
        raise DataError("not finite and descending", file=file, key="row_elevations", wanted="row 0 = highest beam")
    if offsets.shape != elevations.shape:
        problem = f"{len(offsets)} azimuth offsets for {len(elevations)} rows"
        raise DataError(problem, file=file, key="row_azimuth_offsets", wanted="one per row")
    try:
        image = RangeMapFormat(**values.pop("format", {}))
        columns = int(values.pop("columns"))
    except (TypeError, ValueError) as error:
        raise DataError(str(error), file=file, key="format or columns", wanted="see RangeMapFormat") from error
    if columns < 1:
        raise DataError(f"{columns} columns", file=file, key="columns", wanted="at least one")
    name, pose = values.pop("name"), values.pop("vehicle_SE3_lidar", None)
    if pose is not None:
        pose = pose_of_file(pose, file, "vehicle_SE3_lidar", "lidar axes to vehicle axes")
    sensor = Sensor(name, elevations, offsets, columns, format=image, vehicle_SE3_lidar=pose, **values)
    _check_field_of_view(sensor, file)
    return sensor


def _check_field_of_view(sensor: Sensor, file: str) -> None:
    if sensor.end_azimuth_rad is None:
        return
    wanted = "another azimuth than first_azimuth; no end_azimuth for a full circle"
    if not isinstance(sensor.end_azimuth_rad, float) or not math.isfinite(sensor.end_azimuth_rad):
        raise DataError(f"{sensor.end_azimuth_rad}", file=file, key="end_azimuth", wanted="one finite angle")
    if not sensor.field_of_view_rad > 1e-9:
        raise DataError("a field of view of 0", file=file, key="end_azimuth", wanted=wanted)
