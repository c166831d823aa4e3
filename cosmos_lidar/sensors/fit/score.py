"""How well a sensor describes points: angles between points and the rays of their pixels, and points kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosmos_lidar.sensors.fit.beams import FAR_M, nearest_row
from cosmos_lidar.sensors.range_maps import project_points
from cosmos_lidar.sensors.sensor import Sensor


@dataclass(frozen=True)
class AngularErrors:
    """Angles between points beyond 20 m and the rays through the centers of their pixels, degrees.

    Attributes:
        mean_deg: mean.
        median_deg: median.
        p95_deg: 95th percentile.
        elevation_deg: mean of the part in elevation.
        azimuth_deg: mean of the part along the row.
        points: number of these points.
        outside: share of points beyond 20 m that are in no pixel, which are not in the numbers above.
    """

    mean_deg: float
    median_deg: float
    p95_deg: float
    elevation_deg: float
    azimuth_deg: float
    points: int
    outside: float


def angular_errors(points: np.ndarray, sensor: Sensor, beyond_m: float = FAR_M) -> AngularErrors:
    """Return the angular errors of points (N, 3) of a sensor; NaN where none lies beyond ``beyond_m``."""
    points = np.asarray(points, np.float64)
    far = points[np.linalg.norm(points, axis=1) > beyond_m]
    flat = np.linalg.norm(far[:, :2], axis=1)
    elevation = np.arctan2(far[:, 2], flat)
    row = nearest_row(elevation, sensor.row_elevations_rad)
    slack, beams = sensor.elevation_slack_rad, sensor.row_elevations_rad
    inside = (elevation <= beams[0] + slack) & (elevation >= beams[-1] - slack)
    way = -1.0 if sensor.clockwise else 1.0
    step = sensor.field_of_view_rad / sensor.columns
    azimuth = np.arctan2(far[:, 1], far[:, 0]) - sensor.first_azimuth_rad - sensor.row_azimuth_offsets_rad[row]
    column = (way * azimuth) % (2.0 * np.pi) / step
    inside &= column < sensor.columns
    along = (column - np.floor(column) - 0.5)[inside] * step
    up, beam = elevation[inside], beams[row[inside]]
    half = np.sin((up - beam) / 2) ** 2 + np.cos(up) * np.cos(beam) * np.sin(along / 2) ** 2  # haversine
    error = np.degrees(2.0 * np.arcsin(np.sqrt(half)))
    if not len(error):
        nothing = float("nan")
        return AngularErrors(nothing, nothing, nothing, nothing, nothing, 0, 1.0 if len(far) else 0.0)
    parts = (np.degrees(np.abs(up - beam)).mean(), np.degrees(np.abs(along * np.cos(up))).mean())
    return AngularErrors(
        float(error.mean()), float(np.median(error)), float(np.percentile(error, 95)),
        float(parts[0]), float(parts[1]), len(error), 1.0 - len(error) / len(far),
    )  # fmt: skip


def share_kept(points: np.ndarray, sweep: np.ndarray, sensor: Sensor) -> float:
    """Return the share of points that are in a pixel and not displaced by a nearer one.

    Args:
        points: (N, 3).
        sweep: (N,) number of the sweep of each.
        sensor: the lidar.
    """
    kept = 0
    for number in np.unique(sweep):
        found = project_points(points[sweep == number], sensor)
        kept += int((np.asarray(found.point_index) >= 0).sum())
    return kept / len(points)


def row_differences(sensor: Sensor, table: Sensor) -> np.ndarray:
    """Return (rows,) degrees by which each beam is above the nearest one of ``table``, such as a vendor's."""
    nearest = nearest_row(sensor.row_elevations_rad, table.row_elevations_rad)
    return np.degrees(sensor.row_elevations_rad - table.row_elevations_rad[nearest])
