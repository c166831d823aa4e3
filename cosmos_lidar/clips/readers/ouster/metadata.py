"""Metadata of an Ouster sensor (json): beams, columns, packet profile, and the geometry of its pixels.

Both layouts are read: the flat one of older clients, and the one in sections (``beam_intrinsics``,
``lidar_data_format``, …) of the sensor's own interface.

A sensor counts columns clockwise. Its rows look in different directions at the same moment: pixel (u, m), row and
measured column, has azimuth ``2 pi - 2 pi m / columns - beam_azimuth_angles[u]`` in lidar axes, which
``lidar_to_sensor_transform`` turns so that x is forward. Here rows are shifted by whole columns against each other
(``pixel_shift_by_row``), so that a column of an image looks in one direction; a row's remaining difference is its
azimuth offset.

A point is ``direction (range - n) + (n cos e, n sin e, h)``, with e the encoder angle ``2 pi - 2 pi m / columns`` and
(n, 0, h) the beam's origin, ``lidar_origin_to_beam_origin_mm`` or ``beam_to_lidar_transform`` (Ouster's software user
manual). Its axes are those of the sensor, its origin that of the lidar.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.bounds import expect_size
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import parse_json
from cosmos_lidar.sensors.sensor import RangeMapFormat, Sensor

_SECTIONS = ("sensor_info", "beam_intrinsics", "lidar_intrinsics", "config_params", "lidar_data_format", "data_format")
_MODE = re.compile(r"(\d+)x(\d+)")
_MOST_ROWS, _MOST_COLUMNS, _MOST_PER_PACKET = 1024, 8192, 512
_LARGEST_RANGE_M, _RANGE_STEP_M = 262.136, 0.004  # 15 bits of 8 mm; 16 bits of the step hold it
_TURN_ABOUT_Z = [-1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1, 36.18, 0, 0, 0, 1]  # of sensors whose metadata lack it


@dataclass(frozen=True)
class Metadata:
    """What the reader needs of a sensor's metadata.

    Attributes:
        name: product line.
        serial: number of the unit.
        elevations_rad: (rows,) in the order of the sensor.
        azimuths_rad: (rows,) of the beams against the encoder, in the order of the sensor.
        shifts: (rows,) columns by which a row is shifted to bring columns into one direction.
        columns: per revolution.
        columns_per_packet: as named.
        profile: of the packets of the lidar.
        spin_hz: revolutions per second.
        port: UDP port of the lidar; None where not stated.
        beam_origin_m: (2,) of the beam: horizontal distance from the axis, and height.
        sensor_SE3_lidar: (4, 4) meters.
    """

    name: str
    serial: str
    elevations_rad: np.ndarray
    azimuths_rad: np.ndarray
    shifts: np.ndarray
    columns: int
    columns_per_packet: int
    profile: str
    spin_hz: float
    port: int | None
    beam_origin_m: tuple[float, float]
    sensor_SE3_lidar: np.ndarray

    @property
    def rows(self) -> int:
        """Number of beams."""
        return len(self.elevations_rad)


@dataclass(frozen=True)
class Geometry:
    """Where the pixels of a sensor look; images have the rows of ``sensor``, from the top.

    Attributes:
        sensor: its beams.
        source: (rows, columns) place of each pixel in the flattened array of (row, measured column).
        measured: (rows, columns) the measured column of each pixel.
        directions: (rows, columns, 3) float32 unit vectors.
        offsets: (rows, columns, 3) float32 meters, added to direction times range.
        sensor_SE3_lidar: (4, 4) place of the lidar's origin in the sensor; its axes are turned already.
    """

    sensor: Sensor
    source: np.ndarray
    measured: np.ndarray
    directions: np.ndarray
    offsets: np.ndarray
    sensor_SE3_lidar: np.ndarray


def parse_metadata(text: str, file: Path | None = None) -> Metadata:
    """Return the metadata of a json text.

    Raises:
        DataError: no json, or a key that is missing or of another kind.
    """
    try:
        document = parse_json(text)
    except ValueError as error:
        raise DataError(f"no json: {error!s:.200}", file=file, wanted="metadata of an Ouster sensor") from error
    if not isinstance(document, dict):
        raise DataError(f"holds a {type(document).__name__}", file=file, wanted="metadata of an Ouster sensor")
    found: dict[str, Any] = {key: value for key, value in document.items() if key not in _SECTIONS}
    for section in _SECTIONS:
        if isinstance(document.get(section), dict):
            found |= document[section]
    try:
        return _metadata(found)
    except DataError as error:
        raise error.at(file=file) from error


def _metadata(found: dict[str, Any]) -> Metadata:
    elevations = _numbers(found, "beam_altitude_angles")
    azimuths = _numbers(found, "beam_azimuth_angles")
    rows = len(elevations)
    if len(azimuths) != rows or not 1 < rows <= _MOST_ROWS:
        problem = f"{len(azimuths)} azimuths for {rows} altitudes"
        raise DataError(problem, key="beam_azimuth_angles", wanted="one of each per row: a spinning sensor")
    mode = _MODE.fullmatch(str(found.get("lidar_mode", "")))
    columns = _integer(found, "columns_per_frame", int(mode[1]) if mode else None, _MOST_COLUMNS)
    if _integer(found, "pixels_per_column", rows, _MOST_ROWS) != rows:
        raise DataError(
            f"{found['pixels_per_column']} for {rows} beams", key="pixels_per_column", wanted="one per beam"
        )
    if "pixel_shift_by_row" in found:
        shifts = _numbers(found, "pixel_shift_by_row").astype(np.int64)
    else:
        shifts = np.round((azimuths - azimuths.min()) * columns / 360.0).astype(np.int64)
    if len(shifts) != rows or np.abs(shifts).max() >= columns:
        raise DataError(f"{len(shifts)} shifts", key="pixel_shift_by_row", wanted=f"{rows}, below {columns}")
    transform = _numbers(found, "lidar_to_sensor_transform", _TURN_ABOUT_Z)
    if len(transform) != 16 or not np.allclose(np.abs(transform[10]), 1, atol=1e-6):
        wanted = "16 numbers: a turn about z"
        raise DataError("another motion", key="lidar_to_sensor_transform", wanted=wanted)
    mounting = transform.reshape(4, 4)
    mounting[:3, 3] /= 1000.0
    return Metadata(
        name=str(found.get("prod_line", "unknown")),
        serial=str(found.get("prod_sn", "")),
        elevations_rad=np.radians(elevations),
        azimuths_rad=np.radians(azimuths),
        shifts=shifts,
        columns=columns,
        columns_per_packet=_integer(found, "columns_per_packet", 16, _MOST_PER_PACKET),
        profile=str(found.get("udp_profile_lidar", "LEGACY")),
        spin_hz=float(mode[2]) if mode else 10.0,
        port=int(found["udp_port_lidar"]) if str(found.get("udp_port_lidar", "")).isdecimal() else None,
        beam_origin_m=_beam_origin(found),
        sensor_SE3_lidar=mounting,
    )


def _numbers(found: dict[str, Any], key: str, default: list[float] | None = None) -> np.ndarray:
    if key not in found and default is None:
        raise DataError("missing key", key=key, wanted="a list of numbers")
    try:
        values = np.array(found.get(key, default), np.float64)
        if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
            raise ValueError(f"shape {values.shape}")
    except (TypeError, ValueError) as error:
        raise DataError(f"no numbers: {error!s:.80}", key=key, wanted="a list of numbers") from error
    return values


def _integer(found: dict[str, Any], key: str, default: int | None, most: int) -> int:
    value = found.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= most:
        raise DataError(f"{value!r:.40}" if key in found else "missing key", key=key, wanted=f"1 to {most}")
    return value


def _beam_origin(found: dict[str, Any]) -> tuple[float, float]:
    if "beam_to_lidar_transform" in found:
        transform = _numbers(found, "beam_to_lidar_transform")
        if len(transform) != 16:
            raise DataError(f"{len(transform)} numbers", key="beam_to_lidar_transform", wanted="16 numbers")
        return transform[3] / 1000.0, transform[11] / 1000.0
    distance = found.get("lidar_origin_to_beam_origin_mm", 0.0)
    if not isinstance(distance, (int, float)) or not math.isfinite(distance):
        raise DataError(f"{distance!r:.40}", key="lidar_origin_to_beam_origin_mm", wanted="a number")
    return distance / 1000.0, 0.0


@lru_cache(maxsize=4)
def geometry_of(text: str) -> Geometry:
    """Return the geometry of a sensor by the text of its metadata; kept, as every frame needs it.

    Raises:
        DataError: as :func:`parse_metadata`.
    """
    metadata = parse_metadata(text)
    rows, columns = metadata.rows, metadata.columns
    expect_size(rows * columns * 64, f"the geometry of {rows} x {columns} pixels")
    order = np.argsort(-metadata.elevations_rad, kind="stable")  # a unit's calibration may swap two beams
    elevations, azimuths = metadata.elevations_rad[order], metadata.azimuths_rad[order]
    shifts, step = metadata.shifts[order], 2 * np.pi / columns
    measured = (np.arange(columns) - shifts[:, None]) % columns
    rotation = metadata.sensor_SE3_lidar[:3, :3]
    encoder = 2 * np.pi - measured * step
    azimuth = encoder - azimuths[:, None]
    up = np.broadcast_to(elevations[:, None], azimuth.shape)
    directions = np.stack([np.cos(azimuth) * np.cos(up), np.sin(azimuth) * np.cos(up), np.sin(up)], -1)
    horizontal, height = metadata.beam_origin_m
    origins = np.stack([horizontal * np.cos(encoder), horizontal * np.sin(encoder), np.full_like(up, height)], -1)
    offsets = origins - directions * math.hypot(horizontal, height)
    mounting = np.eye(4)
    mounting[:3, 3] = metadata.sensor_SE3_lidar[:3, 3]
    yaw = math.atan2(rotation[1, 0], rotation[0, 0])
    return Geometry(
        _sensor(metadata, elevations, shifts * step - azimuths, yaw + step / 2),
        (order[:, None] * columns + measured).astype(np.int64),
        measured,
        (directions @ rotation.T).astype(np.float32),
        (offsets @ rotation.T).astype(np.float32),
        mounting,
    )


def _sensor(metadata: Metadata, elevations: np.ndarray, row_offsets: np.ndarray, first: float) -> Sensor:
    """Return the beams; what all rows are turned by belongs to the first column."""
    turned = float(np.mean(row_offsets))
    first = math.remainder(first + turned, 2 * math.pi)
    columns = metadata.columns
    pair = 2 if columns > 512 else 1
    image = RangeMapFormat(1.0, 100.0, pair, max(1, 512 // metadata.rows), columns // pair)
    slack = float(np.median(np.abs(np.diff(elevations)))) / 2
    return Sensor(
        f"ouster_{metadata.name}".lower().replace("-", "_"),
        elevations,
        row_offsets - turned,
        columns,
        first_azimuth_rad=first,
        clockwise=True,
        max_range_m=_LARGEST_RANGE_M,
        elevation_slack_rad=slack,
        spin_hz=metadata.spin_hz,
        range_step_m=_RANGE_STEP_M,
        format=image,
    )
