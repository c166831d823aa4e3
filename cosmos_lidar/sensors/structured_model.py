"""NCore structured lidar model (json): sensor files of NVIDIA NCore and PhysicalAI-Autonomous-Vehicles, in and out.

The model names the direction of every beam of a spinning lidar, ``row-offset-spinning`` in NCore's words. Its beam
(r, c) looks at elevation ``row_elevations_rad[r]`` and azimuth ``column_azimuths_rad[c] + row_azimuth_offsets_rad[r]``,
in the axes and with the signs of :class:`~cosmos_lidar.sensors.sensor.Sensor`: x forward, y left, z up, azimuth from x
toward y, elevation upwards. ``column_azimuths_rad`` are the centers of the columns, ``Sensor.first_azimuth_rad`` is the
leading edge of the first one, half a column before.

Columns of a :class:`~cosmos_lidar.sensors.sensor.Sensor` are evenly spaced over the full circle, or over a part of it
(less than 98 %: ``Sensor.end_azimuth_rad``). Tables that were measured, such as that of a Pandar128, deviate from even
spacing by steps of the encoder: :func:`column_deviation_rad` gives the largest deviation, and a quarter of a column is
the most that is accepted.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.sensor import RangeMapFormat, Sensor

MODEL_TYPE = "row-offset-spinning"
_ARRAYS = ("row_elevations_rad", "row_azimuth_offsets_rad", "column_azimuths_rad")
_KEYS = ("spinning_frequency_hz", "spinning_direction", "n_rows", "n_columns", *_ARRAYS)
_TURN = {"cw": -1.0, "ccw": 1.0}
_EVEN_WITHIN = 0.25  # of a column
_PART = 0.98  # of a turn: columns that cover less are those of a lidar that faces one side
_IMAGE_ROWS = 512  # of the image that a range map becomes, as of the sensors that ship
_MOST = 1 << 16  # rows or columns


def sensor_of_model(
    document: Any,
    name: str,
    file: str | Path | None = None,
    clip: str | None = None,
    max_range_m: float = 105.0,
    format: RangeMapFormat | None = None,
) -> Sensor:
    """Return the sensor that an NCore structured lidar model describes.

    Args:
        document: the parsed json: the parameters, or ``lidar_model_type`` and ``lidar_model_parameters``.
        name: of the sensor.
        file: for messages, as is ``clip``.
        clip: the clip's id.
        max_range_m: farther returns are not placed in a range map; the model says nothing about it.
        format: how range maps become images; default: repeats rows up to 512.

    Raises:
        DataError: another model, a missing key, a value of the wrong type or size, angles that are not finite or in
            the wrong order, or columns that are not evenly spaced over the full circle; the message names the key.
    """
    try:
        values = _read(_parameters(document))
        step = _turn(values)
        first = _first_center(values)[0] - step / 2
    except DataError as error:
        raise error.at(file=file, clip=clip) from error
    rows, columns = len(values["row_elevations_rad"]), len(values["column_azimuths_rad"])
    first = _wrapped(first)
    part = abs(step) * columns < _PART * 2.0 * math.pi
    return Sensor(
        name,
        values["row_elevations_rad"],
        values["row_azimuth_offsets_rad"],
        columns,
        first_azimuth_rad=first,
        clockwise=values["spinning_direction"] == "cw",
        max_range_m=max_range_m,
        spin_hz=values["spinning_frequency_hz"],
        format=format or RangeMapFormat(repeat_rows=max(1, _IMAGE_ROWS // rows)),
        end_azimuth_rad=first + columns * step if part else None,
    )


def model_of_sensor(sensor: Sensor) -> dict[str, Any]:
    """Return the NCore structured lidar model of a sensor, ready for ``json.dump``.

    What the model has no place for is left out: reach, storage step, image format and mounting.
    """
    direction = "cw" if sensor.clockwise else "ccw"
    step = _TURN[direction] * sensor.field_of_view_rad / sensor.columns
    azimuths = sensor.first_azimuth_rad + (np.arange(sensor.columns) + 0.5) * step
    return {
        "spinning_frequency_hz": float(sensor.spin_hz),
        "spinning_direction": direction,
        "n_rows": sensor.rows,
        "n_columns": sensor.columns,
        "row_elevations_rad": [float(angle) for angle in sensor.row_elevations_rad],
        "column_azimuths_rad": [_wrapped(float(angle)) for angle in azimuths],
        "row_azimuth_offsets_rad": [float(angle) for angle in sensor.row_azimuth_offsets_rad],
    }


def column_deviation_rad(document: Any) -> float:
    """Return by how much the columns of a model deviate from even spacing at most, radians.

    Directions of the sensor that :func:`sensor_of_model` makes differ from those of the model by as much.

    Raises:
        DataError: as :func:`sensor_of_model`.
    """
    return _first_center(_read(_parameters(document)))[1]


def _parameters(document: Any) -> dict[str, Any]:
    if isinstance(document, dict) and "lidar_model_type" in document:
        found = document["lidar_model_type"]
        if found != MODEL_TYPE:
            raise DataError(f"lidar model {found!r:.80}", key="lidar_model_type", wanted=MODEL_TYPE)
        document = document.get("lidar_model_parameters")
    if not isinstance(document, dict):
        wanted = f"a structured lidar model: {', '.join(_KEYS)}"
        raise DataError(f"a {type(document).__name__}", key="lidar model", wanted=wanted)
    missing = [key for key in _KEYS if key not in document]
    if missing:
        raise DataError("missing key", key=missing[0], wanted=f"the keys {', '.join(_KEYS)}")
    return document


def _read(document: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a model, checked one by one."""
    direction, hertz = document["spinning_direction"], document["spinning_frequency_hz"]
    if not isinstance(direction, str) or direction not in _TURN:
        raise DataError(f"{direction!r:.80}", key="spinning_direction", wanted="cw or ccw")
    if isinstance(hertz, bool) or not isinstance(hertz, int | float) or not 0 < hertz < 1e4:
        raise DataError(f"{hertz!r:.80}", key="spinning_frequency_hz", wanted="revolutions per second, above 0")
    lengths = {key: "n_columns" if key.startswith("column") else "n_rows" for key in _ARRAYS}
    values = {key: _angles(document[key], key, document[size], size) for key, size in lengths.items()}
    if (np.diff(values["row_elevations_rad"]) >= 0).any() or (abs(values["row_elevations_rad"]) > math.pi / 2).any():
        wanted = "radians between -pi / 2 and pi / 2, highest beam first"
        raise DataError("elevations are not descending", key="row_elevations_rad", wanted=wanted)
    return {**values, "spinning_direction": direction, "spinning_frequency_hz": float(hertz)}


def _angles(given: Any, key: str, length: Any, length_key: str) -> np.ndarray:
    if isinstance(length, bool) or not isinstance(length, int) or not 0 < length <= _MOST:
        raise DataError(f"{length!r:.80}", key=length_key, wanted=f"a whole number from 1 to {_MOST}")
    if not isinstance(given, list) or len(given) != length:
        found = f"{len(given)} values" if isinstance(given, list) else f"a {type(given).__name__}"
        raise DataError(found, key=key, wanted=f"a list of {length} numbers ({length_key})")
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in given):
        raise DataError("not numbers", key=key, wanted="radians")
    try:
        angles = np.array(given, np.float64)
    except (OverflowError, ValueError) as error:
        raise DataError(f"not numbers: {error}", key=key, wanted="radians") from error
    if not (abs(angles) < 100).all():  # NaN and infinity fail, too
        raise DataError("not angles", key=key, wanted="finite, in radians")
    return angles


def _turn(values: dict[str, Any]) -> float:
    """Return the step from column to column: of a full circle, or that of the columns where they cover a part of it."""
    azimuths = values["column_azimuths_rad"]
    whole = _TURN[values["spinning_direction"]] * 2.0 * math.pi / len(azimuths)
    steps = np.diff(azimuths)
    steps -= np.round(steps / (2.0 * math.pi)) * 2.0 * math.pi
    mean = float(steps.mean()) if len(steps) else whole
    return mean if 0 < mean / whole < _PART else whole


def _first_center(values: dict[str, Any]) -> tuple[float, float]:
    """Return the center of column 0 of the evenly spaced columns nearest to the given ones, and how far they are."""
    azimuths = values["column_azimuths_rad"]
    step = _turn(values)
    apart = azimuths - azimuths[0] - np.arange(len(azimuths)) * step
    apart -= np.round(apart / (2.0 * math.pi)) * 2.0 * math.pi  # azimuths may be given modulo a turn
    farthest = float(apart.max() - apart.min()) / 2
    if farthest > _EVEN_WITHIN * abs(step):
        direction = values["spinning_direction"]
        raise DataError(
            f"columns deviate by up to {math.degrees(farthest):.3g} degrees from even spacing over the full circle",
            key="column_azimuths_rad",
            wanted=f"{len(azimuths)} columns of {math.degrees(abs(step)):.4g} degrees each, {direction} as "
            "spinning_direction says",
        )
    return float(azimuths[0] + (apart.max() + apart.min()) / 2), farthest


def _wrapped(angle: float) -> float:
    """Return an angle between -pi and pi."""
    return math.remainder(angle, 2.0 * math.pi)
