from dataclasses import replace

import numpy as np
import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import (
    compensate_motion,
    decompensate_motion,
    load_sensor,
    ray_directions,
    uniform_sensor,
)
from cosmos_lidar.sensors.motion import column_fraction


@pytest.fixture
def motion():
    cos, sin = np.cos(0.02), np.sin(0.02)
    world_SE3_end = np.array([[cos, -sin, 0, 1.5], [sin, cos, 0, 0.1], [0, 0, 1, 0.02], [0, 0, 0, 1]])
    return np.linalg.inv(world_SE3_end)


def test_published_motion_compensation(motion):
    np.testing.assert_allclose(motion[0], [0.99980001, 0.01999867, 0, -1.50169988], atol=1e-8)
    seen = np.array([[10, 0, 0], [0, 20, 1], [-5, -5, -1.5]], float)
    moved = compensate_motion(seen, uniform_sensor(4, 8), motion, fraction=np.array([0.0, 0.5, 1.0]))
    expected = [[10, 0, 0], [0.55000335, 20.04899979, 1.00999999], [-3.39900684, -4.99899340, -1.48]]
    np.testing.assert_allclose(moved, expected, atol=1e-6)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_motion_round_trip(motion, kind):
    sensor = load_sensor("pandar128")
    points = np.random.default_rng(0).uniform(-60, 60, (2000, 3)) * [1, 1, 0.2]
    seen = kind(points[np.linalg.norm(points, axis=1) > 5])
    back = decompensate_motion(compensate_motion(seen, sensor, motion), sensor, motion)
    assert type(back) is type(seen)
    # points near the start azimuth may fall on the other side of the wrap
    off = np.linalg.norm(np.asarray(back) - np.asarray(seen), axis=1)
    assert np.quantile(off, 0.97) < 1e-6


def test_motion_wants_a_pose():
    with pytest.raises(DataError, match="not a rigid transform"):
        compensate_motion(np.ones((1, 3)), uniform_sensor(4, 8), 2 * np.eye(4))


def test_column_fraction_is_the_share_of_a_turn():
    quarter_turns = np.array([[1, 0, 0], [0, -1, 0], [-1, 0, 5], [0, 1, 0]], np.float64)
    clockwise = uniform_sensor(4, 8)
    start = clockwise.first_azimuth_rad
    counter = replace(clockwise, clockwise=False)
    azimuth = np.arctan2(quarter_turns[:, 1], quarter_turns[:, 0])
    assert np.allclose(column_fraction(quarter_turns, clockwise), np.mod(start - azimuth, 2 * np.pi) / (2 * np.pi))
    assert np.allclose(column_fraction(quarter_turns, counter), np.mod(azimuth - start, 2 * np.pi) / (2 * np.pi))
    both = column_fraction(quarter_turns, clockwise) + column_fraction(quarter_turns, counter)
    assert np.allclose(both % 1.0, 0.0)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_column_fraction_of_a_lidar_that_faces_one_side(kind):
    """Sixty degrees left to right: before, at a quarter, at the end, and straight behind on either side."""
    front = replace(uniform_sensor(4, 8), first_azimuth_rad=np.radians(30), end_azimuth_rad=np.radians(-30))
    azimuth = np.radians([40.0, 15.0, -29.9, -60.0, 179.0, -179.0])
    points = kind(np.stack([np.cos(azimuth), np.sin(azimuth), 0 * azimuth], 1))
    assert np.allclose(column_fraction(points, front), [0, 0.25, 59.9 / 60, 1, 0, 1])
    other_way = replace(front, first_azimuth_rad=np.radians(-30), end_azimuth_rad=np.radians(30), clockwise=False)
    assert np.allclose(column_fraction(points, other_way), [1, 0.75, 0.1 / 60, 0, 1, 0])


def test_motion_round_trip_of_a_lidar_that_faces_one_side(motion):
    front = load_sensor("pandar128").between_columns(1500, 2100)
    seen = (ray_directions(front)[::16, 5:-5].reshape(-1, 3) * 20.0).copy()
    back = decompensate_motion(compensate_motion(seen, front, motion), front, motion)
    assert np.abs(back - seen).max() < 1e-6


def test_halfway_through_the_sweep_half_the_motion():
    """The rotation of half the sweep, applied twice, is that of the whole sweep."""
    angle = 0.3
    pose = np.eye(4)
    pose[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    seen = np.array([[3.0, 4.0, 5.0]])
    half = compensate_motion(seen, uniform_sensor(4, 8), pose, fraction=np.array([0.5]))
    cos, sin = np.cos(-angle / 2), np.sin(-angle / 2)
    assert np.allclose(half, [[3 * cos - 4 * sin, 3 * sin + 4 * cos, 5.0]])
    back = decompensate_motion(half, uniform_sensor(4, 8), pose, fraction=np.array([0.5]))
    assert np.allclose(back, seen)


def test_result_keeps_the_dtype_of_the_points(motion):
    points = np.ones((2, 3), np.float32)
    assert compensate_motion(points, uniform_sensor(4, 8), motion).dtype == np.float32
    assert decompensate_motion(torch.ones(2, 3), uniform_sensor(4, 8), motion).dtype == torch.float32
