from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.fit.beams import find_beams
from cosmos_lidar.sensors.fit.cloud import gather, wrapped
from cosmos_lidar.sensors.fit.columns import find_grid
from tests.sensors.fit.conftest import measured, offsets_apart, small_lidar


def grid_of(sensor, mode="ring", sweeps=2, **options):
    cloud = gather([measured(sensor, mode, seed) for seed in range(sweeps)])
    given = {"clockwise": sensor.clockwise, "start_rad": None, "leads_rad": None, **options}
    return find_grid(cloud, find_beams(cloud), **given)


@pytest.mark.parametrize("clockwise", [True, False])
def test_a_full_circle(clockwise):
    sensor = small_lidar(clockwise)
    grid = grid_of(sensor)
    step = 2 * np.pi / 720
    assert (grid.columns, grid.locked, grid.end_rad) == (720, True, None)
    assert grid.step_rad == pytest.approx(step)
    assert np.abs(offsets_apart(grid.offsets_rad, sensor.row_azimuth_offsets_rad, step)).max() < 1e-4
    assert np.abs(grid.offsets_rad).max() <= step / 2
    centers = grid.first_rad + grid.offsets_rad - sensor.first_azimuth_rad - sensor.row_azimuth_offsets_rad
    assert np.degrees(np.abs(wrapped(centers, step))).max() < 1e-4
    assert abs(wrapped(np.array(grid.first_rad - (np.pi if clockwise else -np.pi)))) <= step


def test_leads_give_whole_columns():
    sensor = small_lidar()
    rough = sensor.row_azimuth_offsets_rad + np.radians(np.random.default_rng(0).uniform(-0.12, 0.12, 16))
    grid = grid_of(sensor, leads_rad=rough)
    assert np.abs(offsets_apart(grid.offsets_rad, sensor.row_azimuth_offsets_rad)).max() < 1e-4


@pytest.mark.parametrize("clockwise", [True, False])
def test_part_of_a_circle(clockwise):
    """Its step does not divide the circle: 120 columns of 0.55 degrees."""
    way = -1 if clockwise else 1
    first = np.radians(-way * 33)
    part = replace(
        small_lidar(clockwise), columns=120, first_azimuth_rad=first, end_azimuth_rad=first + way * np.radians(66)
    )
    grid = grid_of(part, leads_rad=part.row_azimuth_offsets_rad, sweeps=3)
    assert grid.locked
    assert np.degrees(grid.step_rad) == pytest.approx(0.55, abs=1e-4)
    assert grid.columns == 120
    lead = np.median(part.row_azimuth_offsets_rad - grid.offsets_rad)
    assert np.degrees(grid.first_rad - part.first_azimuth_rad - lead) == pytest.approx(0, abs=0.005)
    assert np.degrees(grid.end_rad - part.end_azimuth_rad - lead) == pytest.approx(0, abs=0.01)


def test_a_lidar_that_fires_at_other_azimuths_in_every_turn():
    rng = np.random.default_rng(0)
    turned = [replace(small_lidar(), first_azimuth_rad=float(angle)) for angle in rng.uniform(-3, 3, 6)]
    cloud = gather([measured(sensor, "ring", seed) for seed, sensor in enumerate(turned)])
    grid = find_grid(cloud, find_beams(cloud), True, None, None)
    assert (grid.columns, grid.locked) == (720, False)
    assert (find_grid(cloud, find_beams(cloud), True, None, None, 1440)).columns == 1440


def test_azimuths_in_finer_steps_than_the_lidar_fires():
    """Each beam takes about every second step of an encoder: columns are as wide as what it takes."""
    rng = np.random.default_rng(2)
    sweeps = []
    for seed in (0, 1):
        sweep = measured(replace(small_lidar(), columns=2000), "ring", seed, lost=0.0)
        azimuth = np.arctan2(sweep.points[:, 1], sweep.points[:, 0])
        number = np.floor(azimuth / (2 * np.pi) * 2000).astype(int)
        odd = rng.integers(0, 2, 17)[sweep.ring]
        taken = (number + odd) % 2 == 0
        sweeps.append(replace(sweep, points=sweep.points[taken], ring=sweep.ring[taken]))
    cloud = gather(sweeps)
    grid = find_grid(cloud, find_beams(cloud), True, None, None)
    assert (grid.columns, grid.locked) == (1000, False)


def test_azimuths_without_a_step_are_refused():
    rng = np.random.default_rng(0)
    sweep = measured(small_lidar(), "ring")
    angle = rng.uniform(-np.pi, np.pi, len(sweep.points))
    flat = np.linalg.norm(sweep.points[:, :2], axis=1)
    points = np.stack([flat * np.cos(angle), flat * np.sin(angle), sweep.points[:, 2]], 1)
    cloud = gather([replace(sweep, points=points)])
    with pytest.raises(DataError, match="not a spinning lidar: azimuths of a beam are at no usual distance"):
        find_grid(cloud, find_beams(cloud), True, None, None)
    near = replace(cloud, points=2.0 * cloud.points / cloud.range_m[:, None])
    with pytest.raises(DataError, match="no point beyond 4 m"):
        find_grid(near, find_beams(cloud), True, None, None)
