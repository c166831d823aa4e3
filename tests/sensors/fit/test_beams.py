from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.fit.beams import find_beams, nearest_row, purity, refined
from cosmos_lidar.sensors.fit.cloud import gather
from tests.sensors.fit.conftest import measured, small_lidar


@pytest.mark.parametrize(
    ("mode", "how"),
    [("ring", "ring numbers"), ("rows", "order in the file"), ("firing", "lines"), ("shuffled", "lines")],
)
def test_beams_of_every_kind_of_recording(mode, how):
    cloud = gather([measured(small_lidar(), mode, seed) for seed in (0, 1)])
    beams = find_beams(cloud)
    assert how in beams.how
    assert beams.rows == 16
    assert np.degrees(np.abs(beams.elevations_rad - small_lidar().row_elevations_rad)).max() < 1e-4
    assert purity(cloud, beams) > 0.98  # where one turn ends and the next begins, points may count to either


@pytest.mark.parametrize("mode", ["ring", "shuffled"])
def test_noisy_directions_average_out(mode):
    cloud = gather([measured(small_lidar(), mode, seed, noise_deg=0.03) for seed in range(4)])
    beams = find_beams(cloud, rows=16)
    assert np.degrees(np.abs(beams.elevations_rad - small_lidar().row_elevations_rad)).max() < 0.005


def test_rings_that_count_upwards_are_sorted():
    sweep = measured(small_lidar(), "ring")
    beams = find_beams(gather([replace(sweep, ring=(77 - 3 * sweep.ring).astype(np.uint16))]))
    assert beams.names.tolist() == list(range(77, 29, -3))
    assert (np.diff(beams.elevations_rad) < 0).all()


def test_a_ring_of_hardly_any_points_is_left_out_and_named():
    sweep = measured(small_lidar(), "ring")
    ring = sweep.ring.copy()
    ring[np.flatnonzero(ring == 5)[:3]] = 99
    beams = find_beams(gather([replace(sweep, ring=ring)]))
    assert beams.rows == 16
    assert beams.notes == ("left out, too few points: beam 99",)
    assert (beams.row == -1).sum() == 3


def test_points_without_beams_are_refused():
    """Random directions; and ring numbers that mean nothing."""
    rng = np.random.default_rng(3)
    points = rng.uniform(-40, 40, (20_000, 3)).astype(np.float32) * np.float32([1, 1, 0.2])
    sweep = replace(measured(small_lidar(), "shuffled"), points=points)
    with pytest.raises(DataError, match="no beams: at best .*% of the points lie on lines"):
        find_beams(gather([sweep]))
    with pytest.raises(DataError, match="not a spinning lidar: only .*% of the far points.*ring numbers"):
        find_beams(gather([replace(sweep, ring=rng.integers(0, 32, 20_000).astype(np.uint16))]))


def test_another_number_of_beams_than_known():
    with pytest.raises(DataError, match="16 beams, by ring numbers.*key rows.*32"):
        find_beams(gather([measured(small_lidar(), "ring")]), rows=32)


def test_elevations_from_another_origin():
    cloud = gather([measured(small_lidar(), "ring")])
    beams = find_beams(cloud)
    higher = refined(cloud.lowered(-0.5), beams)
    back = refined(cloud.lowered(-0.5).lowered(0.5), higher)
    assert (higher.elevations_rad[:3] > beams.elevations_rad[:3] + 1e-4).all()
    assert np.allclose(back.elevations_rad, beams.elevations_rad, atol=1e-9)


def test_nearest_row_is_the_argmin():
    elevations = small_lidar().row_elevations_rad
    asked = np.random.default_rng(0).uniform(-0.5, 0.4, 1000)
    assert np.array_equal(nearest_row(asked, elevations), np.abs(asked[:, None] - elevations).argmin(1))
