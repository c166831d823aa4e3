from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.sensors import project_points, ray_directions, uniform_sensor
from cosmos_lidar.sensors.fit.score import angular_errors, row_differences, share_kept
from tests.sensors.fit.conftest import small_lidar


def by_projection(points: np.ndarray, sensor) -> np.ndarray:
    """Return the angles between points and the rays of the pixels that each gets when projected alone."""
    rays, found = ray_directions(sensor), []
    for point in points:
        row, column = np.argwhere(project_points(point[None], sensor).range_m)[0]
        found.append(np.degrees(np.arccos(np.clip(point @ rays[row, column] / np.linalg.norm(point), -1, 1))))
    return np.array(found)


@pytest.mark.parametrize("clockwise", [True, False])
def test_errors_against_the_pixels_that_points_fall_into(clockwise):
    rng = np.random.default_rng(0)
    points = rng.uniform(-60, 60, (300, 3)) * [1, 1, 0.05]
    points = points[np.linalg.norm(points, axis=1) > 20]
    sensor = small_lidar(clockwise)
    expected, found = by_projection(points, sensor), angular_errors(points, sensor)
    assert found.mean_deg == pytest.approx(expected.mean(), rel=1e-4)
    assert found.median_deg == pytest.approx(np.median(expected), rel=1e-4)
    assert found.p95_deg == pytest.approx(np.percentile(expected, 95), rel=1e-4)
    assert (found.points, found.outside) == (len(points), 0.0)


def test_points_outside_and_near_ones():
    front = uniform_sensor(8, 360).between_columns(90, 270)
    points = np.array([[30.0, 0, 0], [-30, 0, 0], [30, 0, 30], [5, 5, 0]])
    found = angular_errors(points, front)
    assert (found.points, found.outside) == (1, pytest.approx(2 / 3))
    assert np.isnan(angular_errors(points[3:], front).mean_deg)
    assert angular_errors(points[1:2], front).outside == 1.0


def test_share_kept_counts_each_sweep_alone():
    sensor = uniform_sensor(8, 360)
    same = np.array([[10.0, 0.01, 0], [20.0, 0.02, 0], [-10.0, 1, 0], [0, 0, 50.0]])
    assert share_kept(same, np.array([0, 0, 0, 0]), sensor) == 0.5
    assert share_kept(same, np.array([0, 1, 1, 1]), sensor) == 0.75


def test_rows_against_a_table():
    sensor = small_lidar()
    table = replace(sensor, row_elevations_rad=sensor.row_elevations_rad[::2] - np.radians(0.01))
    apart = row_differences(sensor, table)
    assert apart[::2] == pytest.approx(0.01)
    assert (np.abs(apart[1::2]) > 0.05).all()
