import numpy as np
import pytest

from cosmos_lidar.synth import cast_sweep
from cosmos_lidar.synth.primitives import Shape, body, concatenate
from tests.synth.street import AT, SENSOR, still


def test_every_column_looks_from_its_own_place():
    poses = still()
    poses[1, :3, 3] += [1.5, 0.1, 0.02]
    turn = 0.05
    poses[1, :2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    wall = body(Shape.BLOCK, AT + [21.0, 0, 0], (1.0, 40.0, 30.0), 0, 50, (0, 0, 0))
    sweep = cast_sweep(SENSOR, wall, None, poses, 0.1)
    part = (np.arange(360) + 0.5) / 360
    azimuth = np.pi - (np.arange(360) + 0.5) * 2 * np.pi / 360 + part * turn
    flat = np.cos(np.radians(np.linspace(12, -25, 48)))[:, None] * np.cos(azimuth)
    wanted = (20.0 - 1.5 * part) / np.where(flat > 0.5, flat, np.nan)
    seen = np.isfinite(wanted)
    assert np.abs(sweep.range_m - wanted)[seen].max() < 2e-3


def test_moving_things_are_where_they_are_at_the_moment_of_the_column():
    ball = body(Shape.ELLIPSOID, (0, 0, 0), (1.0,) * 3, 0, 252, (0, 0, 0))
    pose = np.eye(4)
    pose[:3, 3] = AT + [0.0, 12.0, 0.0]  # to the left: seen a quarter of a turn after the start
    sweep = cast_sweep(SENSOR, ball.placed(pose, (20.0, 0.0, 0.0)), None, still(), 0.1)
    columns = np.flatnonzero((sweep.range_m > 0).any(0))
    seen_at = np.tan(np.pi / 2 - (np.pi - (columns.mean() + 0.5) * 2 * np.pi / 360)) * 12.0
    assert seen_at == pytest.approx(-20.0 * 0.025, abs=0.12)
    assert sweep.range_m.max() > 11.0


def test_nearest_body_wins_and_knows_its_label():
    back = body(Shape.BLOCK, AT + [20.0, 0, 0], (0.5, 9.0, 9.0), 0, 50, (0, 0, 0))
    front = body(Shape.BLOCK, AT + [10.0, 0, 0], (0.5, 0.5, 0.5), 0, 80, (0, 0, 0))
    sweep = cast_sweep(SENSOR, concatenate([front, back]), None, still(), 0.1)
    swapped = cast_sweep(SENSOR, concatenate([back, front]), None, still(), 0.1)
    assert np.array_equal(sweep.range_m, swapped.range_m)
    assert np.array_equal(sweep.labels, swapped.labels)
    assert np.array_equal(sweep.labels == 80, (sweep.range_m > 0) & (sweep.range_m < 11))
    assert {50, 80} < set(np.unique(sweep.labels))


def test_row_offsets_turn_the_beams():
    offsets = np.where(np.arange(48) % 2, 0.0, 0.1)
    sensor = SENSOR.with_rows(SENSOR.row_elevations_rad, offsets)
    wall = body(Shape.BLOCK, AT + [11.0, 0, 0], (1.0, 30.0, 30.0), 0, 50, (0, 0, 0))
    sweep = cast_sweep(sensor, wall, None, still(), 0.1)
    azimuth = np.pi - (np.arange(360) + 0.5) * 2 * np.pi / 360 + offsets[:, None]
    flat = np.cos(SENSOR.row_elevations_rad)[:, None] * np.cos(azimuth)
    seen = flat > 0.5
    assert np.abs(sweep.range_m[seen] - 10.0 / flat[seen]).max() < 1e-3
