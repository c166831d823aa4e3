from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips import Sweep
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.fit.cloud import circular_means, gather, wrapped


def test_first_returns_beyond_the_nearest():
    points = np.random.default_rng(0).uniform(5, 9, (1200, 3)).astype(np.float32)
    points[0], points[1] = 0.1, np.nan
    returns = np.where(np.arange(1200) % 2, 1, 2).astype(np.uint8)
    one = Sweep(points=points, ring=np.arange(1200, dtype=np.uint16), returns=returns)
    cloud = gather([one, one])
    assert len(cloud) == 2 * 599
    assert cloud.ring.tolist()[:3] == [3, 5, 7]
    assert cloud.time_us is None
    assert np.bincount(cloud.sweep).tolist() == [599, 599]
    assert gather([one, Sweep(points=points)]).ring is None


def test_angles_against_known_directions():
    points = np.tile([[3.0, 0, 3], [0, 4, 0], [-2, 0, 0], [0, -5, -5]], (200, 1))
    cloud = gather([Sweep(points=points.astype(np.float32))])
    assert np.allclose(np.degrees(cloud.elevation_rad[:4]), [45, 0, 0, -45])
    assert np.allclose(np.abs(np.degrees(cloud.azimuth_rad[:4])), [0, 90, 180, 90])
    assert np.allclose(np.degrees(cloud.lowered(3.0).elevation_rad[0]), 0)


@pytest.mark.parametrize(
    ("sweeps", "message"),
    [
        ([], "no sweep"),
        ([Sweep(range_m=np.ones((4, 8), np.float32))], "without points.*sweep 0.*range image"),
        ([Sweep(points=np.ones((20, 3), np.float32))], "20 points in 1 sweeps"),
    ],
)
def test_what_cannot_be_fitted(sweeps, message):
    with pytest.raises(DataError, match=message):
        gather(sweeps)


def test_circular_means_of_groups():
    values = np.radians([179.0, -179.0, 10.0, 20.0])
    means = circular_means(values, np.array([0, 0, 1, 1]), 3)
    assert np.degrees(np.abs(np.angle(means[0]))) == pytest.approx(180)
    assert np.degrees(np.angle(means[1])) == pytest.approx(15)
    assert abs(means[2]) == 0
    assert wrapped(np.array([0.9, -0.6, 0.2]), 1.0) == pytest.approx([-0.1, 0.4, 0.2])
