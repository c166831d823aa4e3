from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.sensors.fit.beams import find_beams
from cosmos_lidar.sensors.fit.cloud import gather, wrapped
from cosmos_lidar.sensors.fit.rotation import find_rotation
from tests.sensors.fit.conftest import measured, offsets_apart, small_lidar


def rotation_of(mode: str, clockwise: bool):
    cloud = gather([measured(small_lidar(clockwise), mode, seed) for seed in (0, 1)])
    return find_rotation(cloud, find_beams(cloud))


@pytest.mark.parametrize("clockwise", [True, False])
@pytest.mark.parametrize("mode", ["time", "firing", "rows"])
def test_direction(mode, clockwise):
    assert rotation_of(mode, clockwise).clockwise is clockwise


@pytest.mark.parametrize("clockwise", [True, False])
def test_leads_and_start_by_time(clockwise):
    sensor, found = small_lidar(clockwise), rotation_of("time", clockwise)
    assert found.how == "times of points"
    assert np.abs(offsets_apart(found.leads_rad, sensor.row_azimuth_offsets_rad)).max() < 0.1
    middle = np.median(sensor.row_azimuth_offsets_rad)
    assert np.degrees(abs(wrapped(np.array(found.start_rad - sensor.first_azimuth_rad - middle)))) < 1.0


def test_leads_by_the_order_of_points_are_within_a_column():
    sensor, found = small_lidar(), rotation_of("firing", True)
    assert np.abs(offsets_apart(found.leads_rad, sensor.row_azimuth_offsets_rad)).max() < 360 / sensor.columns


def test_without_times_and_order_nothing_is_known():
    found = rotation_of("shuffled", True)
    assert (found.clockwise, found.start_rad, found.leads_rad) == (None, None, None)
