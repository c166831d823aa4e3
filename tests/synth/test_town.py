"""Streets: where things stand and how they move, against derivatives and the width of the road."""

import numpy as np
import pytest

from cosmos_lidar.synth.town import LANE_M, EgoPath, Mover, build_scene
from tests.synth.street import far_away


def test_the_ego_vehicle_drives_at_its_speed_with_a_slow_swing():
    ego = EgoPath(speed_mps=10.0, swing_mps=2.0, swing_rad_s=0.5, phase_rad=0.3)
    assert ego.x(0.0) == 0.0
    for time in (0.0, 1.7, 9.0):
        speed = (ego.x(time + 1e-4) - ego.x(time - 1e-4)) / 2e-4
        assert speed == pytest.approx(10.0 + 2.0 * np.sin(0.5 * time + 0.3), abs=1e-6)


def test_movers_keep_their_speed_or_their_gap():
    ego = EgoPath(10.0, 2.0, 0.5, 0.3)
    alone, ahead = Mover(far_away(), 5.0, 1.0, -3.0), Mover(far_away(), 20.0, 1.0, 99.0, with_ego=True)
    assert alone.x(2.0, ego) == -1.0
    assert ahead.x(2.0, ego) - ego.x(2.0) == pytest.approx(20.0)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_road_is_clear_of_what_stands_still(seed):
    scene = build_scene(seed, 3.0)
    lateral = np.abs(scene.terrain.lateral(scene.still.center[:, 0], scene.still.center[:, 1]))
    low = scene.still.center[:, 2] - scene.terrain.height(scene.still.center[:, 0], scene.still.center[:, 1]) < 4.0
    assert lateral[low].min() > LANE_M + 1.5
    assert set(scene.still.label) <= {10, 50, 51, 70, 71, 80, 81}
    assert not scene.still.velocity.any()
    assert np.linalg.norm(scene.sun) == pytest.approx(1.0)
    assert scene.sun[2] > 0.4


def test_bodies_move_as_far_as_their_velocities_say():
    scene = build_scene(1, 3.0)
    now, later = scene.at(1.0), scene.at(1.02)
    assert np.array_equal(now.label, later.label)
    moved = (later.center - now.center) / 0.02
    slow = np.abs(moved - now.velocity).max(1)
    assert np.quantile(slow, 0.99) < 0.2
    assert np.linalg.norm(now.velocity, axis=1).max() > 5.0


def test_the_vehicle_stands_in_the_right_hand_lane_on_the_ground():
    scene = build_scene(4, 3.0)
    for time in (0.0, 2.5):
        pose = scene.world_SE3_vehicle(time)
        x, y, z = pose[:3, 3]
        assert z == pytest.approx(scene.terrain.height(np.array([x]), np.array([y]))[0], abs=0.05)
        assert scene.terrain.lateral(np.array([x]), np.array([y]))[0] == pytest.approx(-LANE_M, abs=0.05)
        ahead = scene.world_SE3_vehicle(time + 0.01)[:3, 3] - pose[:3, 3]
        assert pose[:3, 0] @ ahead / np.linalg.norm(ahead) > 0.999
