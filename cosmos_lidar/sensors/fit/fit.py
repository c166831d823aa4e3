"""Fit a sensor to sweeps: beams, then origin, rotation, azimuth grid and range limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from cosmos_lidar.sensors.fit.beams import Beams, find_beams, refined
from cosmos_lidar.sensors.fit.cloud import Cloud, MeasuredPoints, gather
from cosmos_lidar.sensors.fit.columns import Grid, find_grid
from cosmos_lidar.sensors.fit.origin import origin_height
from cosmos_lidar.sensors.fit.rotation import find_rotation
from cosmos_lidar.sensors.fit.score import AngularErrors, angular_errors, share_kept
from cosmos_lidar.sensors.sensor import RangeMapFormat, Sensor

_IMAGE_ROWS = 512
_MOST_STEPS = 65535
_STEPS_M = (0.002, 0.004, 0.005, 0.01)


@dataclass(frozen=True, eq=False)
class FittedSensor:
    """A sensor estimated from sweeps, and how well it describes them.

    Attributes:
        sensor: for points as the recording has them.
        errors: of the points with it, beyond 20 m.
        kept: share of all points that are in a pixel and not displaced by a nearer one.
        sweeps: number of sweeps.
        points: number of points.
        beams_by: what told the beams apart.
        direction_by: what told direction, start and azimuth leads.
        concentration: of azimuths on the grid, from 0 to 1.
        locked: the lidar measures at the same azimuths turn after turn.
        origin_m: height of the beams' common origin above the origin of the points; 0 where it is there.
        from_origin: errors of the points moved down by ``origin_m`` with :attr:`sensor_at_origin`; None where it is 0.
        sensor_at_origin: the sensor for points moved so; None where ``origin_m`` is 0.
        notes: what was assumed.
    """

    sensor: Sensor
    errors: AngularErrors
    kept: float
    sweeps: int
    points: int
    beams_by: str
    direction_by: str
    concentration: float
    locked: bool
    origin_m: float = 0.0
    from_origin: AngularErrors | None = None
    sensor_at_origin: Sensor | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the report, ready for ``json.dump``."""
        found = {name: getattr(self, name) for name in (
            "kept", "sweeps", "points", "beams_by", "direction_by", "concentration", "locked", "origin_m")}  # fmt: skip
        sensor = self.sensor
        return {
            "name": sensor.name, "rows": sensor.rows, "columns": sensor.columns, "clockwise": sensor.clockwise,
            "field_of_view_deg": math.degrees(sensor.field_of_view_rad), "max_range_m": sensor.max_range_m,
            "errors": asdict(self.errors), **found,
            "errors_from_origin": None if self.from_origin is None else asdict(self.from_origin),
            "notes": list(self.notes),
        }  # fmt: skip


def fit_sensor(
    sweeps: Sequence[MeasuredPoints],
    name: str = "fitted",
    *,
    rows: int | None = None,
    columns: int | None = None,
    clockwise: bool | None = None,
    spin_hz: float = 10.0,
) -> FittedSensor:
    """Return the sensor of a spinning lidar, estimated from its sweeps.

    Args:
        sweeps: points as the lidar saw them, not motion-compensated, in its own axes; ring numbers, times and the order
            of the points are used where they are there.
        name: of the sensor.
        rows: number of beams, where it is known.
        columns: per turn, instead of those found; a lidar that does not fire at fixed azimuths has a smaller error
            with more columns than firings.
        clockwise: direction, instead of the one found.
        spin_hz: revolutions per second.

    Raises:
        DataError: no points, too few, or not those of a spinning lidar.
    """
    cloud = gather(sweeps)
    beams = find_beams(cloud, rows)
    rotation = find_rotation(cloud, beams)
    way = rotation.clockwise if clockwise is None else clockwise
    notes = list(beams.notes)
    if way is None:
        way = True
        notes.append("direction of rotation unknown, taken to be clockwise: points have no times and are in no order")
    if not way:
        notes.append("columns run counter-clockwise, as the lidar turns: range maps show the scene mirrored")
    if rotation.leads_rad is None:
        notes.append("azimuth offsets of beams are known up to whole columns")
    elif cloud.time_us is None:
        notes.append("azimuth offsets of beams are from the order of the points, and may be off by one column")
    grid = find_grid(cloud, beams, way, rotation.start_rad, rotation.leads_rad, columns)
    if not grid.locked:
        notes.append("the lidar does not measure at the same azimuths turn after turn: columns are its usual step")
    sensor = _sensor(name, cloud, beams, grid, way, spin_hz)
    height = origin_height(cloud, beams)
    at_origin, from_origin = None, None
    if height:
        lower = cloud.lowered(height)
        moved = refined(lower, beams)
        at_origin = _sensor(name, lower, moved, replace(grid, offsets_rad=_kept(grid, beams, moved)), way, spin_hz)
        from_origin = angular_errors(lower.points, at_origin)
    return FittedSensor(
        sensor, angular_errors(cloud.points, sensor), share_kept(cloud.points, cloud.sweep, sensor), len(sweeps),
        len(cloud), beams.how, rotation.how, grid.concentration, grid.locked, height, from_origin, at_origin,
        tuple(notes),
    )  # fmt: skip


def _kept(grid: Grid, beams: Beams, moved: Beams) -> np.ndarray:
    """Return the offsets in the order of the moved beams: from another origin, beams may change places."""
    offsets = np.zeros(moved.rows)
    there = (beams.row >= 0) & (moved.row >= 0)
    offsets[moved.row[there]] = grid.offsets_rad[beams.row[there]]
    return offsets


def _sensor(name: str, cloud: Cloud, beams: Beams, grid: Grid, clockwise: bool, spin_hz: float) -> Sensor:
    range_m, elevation = cloud.range_m, cloud.elevation_rad
    high = 5.0 * math.ceil((float(range_m.max()) + 0.01) / 5.0)
    low = max(0.5, 0.5 * math.floor(2.0 * float(np.quantile(range_m, 0.001))))
    top, bottom = beams.elevations_rad[0], beams.elevations_rad[-1]
    beyond = np.maximum(elevation - top, bottom - elevation)
    gaps = -np.diff(beams.elevations_rad)
    half = float(max(gaps[0], gaps[-1])) / 2 if len(gaps) else math.radians(0.1)
    slack = float(np.clip(beyond.max(), math.radians(0.05), max(half, math.radians(0.1))))
    step = next((one for one in _STEPS_M if one * _MOST_STEPS > high), _STEPS_M[-1])
    pairs = 2 if grid.columns % 2 == 0 else 1
    form = RangeMapFormat(low, min(100.0, high), pairs, max(1, _IMAGE_ROWS // beams.rows), 0)
    return Sensor(
        name, beams.elevations_rad, grid.offsets_rad, grid.columns, grid.first_rad, clockwise, high, slack, spin_hz,
        step, form, None, grid.end_rad,
    )  # fmt: skip


def uniform_fit(
    sweeps: Sequence[MeasuredPoints], shape: tuple[int, int], name: str = "mapped", spin_hz: float = 10.0
) -> FittedSensor:
    """Return an evenly spaced sensor over the field of view of any lidar, also one that does not spin.

    Args:
        sweeps: its points.
        shape: (rows, columns).
        name: of the sensor.
        spin_hz: sweeps per second.

    Raises:
        DataError: no points, or too few.
    """
    cloud = gather(sweeps)
    ends = np.quantile(cloud.elevation_rad, [0.999, 0.001])
    elevations = np.linspace(ends[0], ends[1], shape[0])
    turned = np.sort(cloud.azimuth_rad)
    gaps = np.diff(np.concatenate([turned, turned[:1] + 2.0 * np.pi]))
    widest = int(np.argmax(gaps))
    first, end = np.pi, None
    if gaps[widest] > math.radians(60.0):
        first, end = float(turned[widest]) + 1e-4, float(turned[(widest + 1) % len(turned)]) - 1e-4
    seen = 2.0 * np.pi if end is None else (first - end) % (2.0 * np.pi)
    grid = Grid(seen / shape[1], shape[1], first, end, np.zeros(shape[0]), 0.0, False)
    row = np.zeros(len(cloud), np.int64)
    sensor = _sensor(name, cloud, Beams(elevations, row, "even spacing"), grid, True, spin_hz)
    note = "evenly spaced over the field of view; nothing of the lidar's own scan is in it"
    return FittedSensor(
        sensor, angular_errors(cloud.points, sensor), share_kept(cloud.points, cloud.sweep, sensor), len(sweeps),
        len(cloud), "even spacing", "nothing", 0.0, False, notes=(note,),
    )  # fmt: skip
