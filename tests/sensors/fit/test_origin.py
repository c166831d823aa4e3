from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.sensors.fit.beams import find_beams
from cosmos_lidar.sensors.fit.cloud import gather
from cosmos_lidar.sensors.fit.origin import origin_height
from tests.sensors.fit.conftest import measured, small_lidar


@pytest.mark.parametrize("height", [0.21, -0.1, 0.0])
def test_height_of_the_beams_above_the_points_origin(height):
    """Points given from an origin below (above) the one that the beams share."""
    sweep = measured(small_lidar(), "ring", noise_deg=0.01)
    moved = replace(sweep, points=sweep.points + np.float32([0, 0, height]))
    cloud = gather([moved])
    assert origin_height(cloud, find_beams(cloud)) == pytest.approx(height, abs=0.005)


def test_points_too_near_tell_nothing():
    cloud = gather([measured(small_lidar(), "ring")])
    beams = find_beams(cloud)
    near = replace(cloud, points=cloud.points / cloud.range_m[:, None])
    assert origin_height(near, beams) == 0.0
