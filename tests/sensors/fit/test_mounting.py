from __future__ import annotations

import math

import numpy as np
import pytest

from cosmos_lidar.sensors.fit.mounting import fit_mounting
from cosmos_lidar.sensors.rigid import rigid
from cosmos_lidar.sensors.sensor import load_sensor

MOUNTED_M = np.array([1.4, -0.02, 1.64])


def tilt(roll: float, pitch: float) -> np.ndarray:
    about_x = np.array([[1, 0, 0], [0, math.cos(roll), -math.sin(roll)], [0, math.sin(roll), math.cos(roll)]])
    about_y = np.array([[math.cos(pitch), 0, math.sin(pitch)], [0, 1, 0], [-math.sin(pitch), 0, math.cos(pitch)]])
    return about_y @ about_x


def sweep(turned: np.ndarray, at: np.ndarray, noise_m: float, ground_alone: bool = False) -> tuple[np.ndarray, ...]:
    """What a Pandar40P at a place of the vehicle sees between walls of a yard, on level ground: points and rings."""
    rng = np.random.default_rng(0)
    elevation = np.repeat(load_sensor("hesai_pandar40p").row_elevations_rad[::-1], 300)  # from the lowest up
    ring = np.repeat(np.arange(40), 300)
    azimuth = rng.uniform(-np.pi, np.pi, len(ring))
    elevation = elevation + rng.normal(0, math.radians(0.01), len(ring))
    rays = (
        np.stack([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], 1)
        @ turned.T
    )
    with np.errstate(divide="ignore"):
        walls = np.concatenate([(side - at[:2]) / rays[:, :2] for side in ([30.0, 9.0], [-18.0, -14.0])], 1)
        walls = np.where(walls > 0, walls, np.inf).min(1)
        ground = np.where(rays[:, 2] < 0, -(at[2] + 0.3) / rays[:, 2], np.inf)
    far = np.minimum(ground, np.inf if ground_alone else walls)
    seen = far < 150.0
    far = far[seen] + rng.normal(0, noise_m, seen.sum())
    return at + far[:, None] * rays[seen], ring[seen]


@pytest.mark.parametrize(("roll_deg", "pitch_deg"), [(0.0, 0.0), (0.7, -1.5), (-8.0, 12.0)])
def test_place_and_tilt_come_back(roll_deg, pitch_deg):
    turned = tilt(math.radians(roll_deg), math.radians(pitch_deg))
    points, ring = sweep(turned, MOUNTED_M, 0.02)
    found = fit_mounting(points, ring)
    assert found is not None
    assert rigid(found.body_SE3_lidar)
    assert np.abs(found.body_SE3_lidar[:3, 3] - MOUNTED_M).max() < 0.02
    # The axis of rotation; the turn about it cannot be seen.
    cosine = float(found.body_SE3_lidar[:3, 2] @ turned[:, 2])
    assert math.degrees(math.acos(min(1.0, cosine))) < 0.1
    assert math.degrees(found.deviation_rad) < 0.05


def test_rings_in_any_order_and_points_of_others_among_them():
    points, ring = sweep(np.eye(3), MOUNTED_M, 0.02)
    wild = np.random.default_rng(1).random(len(points)) < 0.02
    points = np.where(wild[:, None], points * 1.3, points)
    found = fit_mounting(points, np.random.default_rng(2).permutation(40)[ring])
    assert found is not None
    assert np.abs(found.body_SE3_lidar[:3, 3] - MOUNTED_M).max() < 0.05


def test_sweeps_that_do_not_determine_it():
    points, ring = sweep(np.eye(3), MOUNTED_M, 0.02, ground_alone=True)
    assert fit_mounting(points, ring) is None  # circles on the ground: any height does
    points, ring = sweep(np.eye(3), MOUNTED_M, 0.02)
    assert fit_mounting(points, np.random.default_rng(0).permutation(ring)) is None  # no rings
    assert fit_mounting(points, ring % 4) is None
    assert fit_mounting(points[:100], ring[:100]) is None
    assert fit_mounting(points[:0], ring[:0]) is None
