"""Ray casting against closed forms, against a search in small steps, and against itself without culling."""

import numpy as np
import pytest

from cosmos_lidar.sensors.sensor import uniform_sensor
from cosmos_lidar.synth import cast_sweep
from cosmos_lidar.synth.lidar import _sweep_rays
from cosmos_lidar.synth.objects import car
from cosmos_lidar.synth.primitives import Primitives, Shape, body, concatenate, intersect
from cosmos_lidar.synth.rays import GROUND, NOTHING, cast
from cosmos_lidar.synth.terrain import Terrain
from cosmos_lidar.synth.town import build_scene

SENSOR = uniform_sensor(48, 360, 12, -25, max_range_m=105.0)
AT = np.array([310.0, -120.0, 7.0])


def beams() -> np.ndarray:
    """(3, rows, columns) float64 directions of SENSOR, written down independently of the caster."""
    azimuth = np.pi - (np.arange(360) + 0.5) * 2 * np.pi / 360
    elevation = np.radians(np.linspace(12, -25, 48))[:, None]
    flat = np.cos(elevation)
    return np.stack((np.cos(azimuth) * flat, np.sin(azimuth) * flat, np.sin(elevation) + 0 * azimuth))


def still(position=AT) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, 3] = position
    return np.stack((pose, pose))


def far_away() -> Primitives:
    return body(Shape.ELLIPSOID, (0, 0, -5000), (1, 1, 1), 0, 10, (0, 0, 0))


def test_flat_ground_is_h_over_sine():
    sweep = cast_sweep(SENSOR, far_away(), Terrain(height_m=5.0, kerb_m=0.0), still(), 0.1)
    down = -beams()[2]
    wanted = np.where(down > 2.0 / 105.0, 2.0 / np.maximum(down, 1e-9), 0)
    assert np.abs(sweep.range_m - wanted).max() < 1e-3
    assert (sweep.labels > 0).sum() == (wanted > 0).sum()


def test_tilted_ground_is_a_plane():
    sweep = cast_sweep(SENSOR, far_away(), Terrain(-7.0, (0.03, -0.02), kerb_m=0.0), still(), 0.1)
    gap = 7.0 + AT[2] - 0.03 * AT[0] + 0.02 * AT[1]
    d = beams()
    fall = 0.03 * d[0] - 0.02 * d[1] - d[2]
    with np.errstate(divide="ignore"):
        wanted = np.where((fall > 0) & (gap / fall <= 105), gap / fall, 0)
    assert np.abs(sweep.range_m - wanted).max() < 2e-3


def test_sphere():
    centre = np.array([9.0, -4.0, 1.0])
    sweep = cast_sweep(SENSOR, body(Shape.ELLIPSOID, AT + centre, (2.0,) * 3, 0, 10, (0, 0, 0)), None, still(), 0.1)
    along = np.einsum("i,irc->rc", centre, beams())
    inside = 4.0 - (centre @ centre - along**2)
    wanted = np.where((inside > 0) & (along > 0), along - np.sqrt(np.maximum(inside, 0)), 0)
    grazing = np.abs(inside) < 1e-4
    assert (wanted > 0).sum() > 100
    assert np.abs(sweep.range_m - wanted)[~grazing].max() < 2e-4


def test_box_and_its_incidence():
    front = body(Shape.BLOCK, AT + [12.0, 0, 0], (2.0, 3.0, 1.5), 0, 50, (0, 0, 0))
    sweep = cast_sweep(SENSOR, front, None, still(), 0.1)
    d = beams()
    t = 10.0 / np.maximum(d[0], 1e-9)
    hit = (d[0] > 0) & (np.abs(t * d[1]) < 3.0) & (np.abs(t * d[2]) < 1.5)
    assert np.abs(sweep.range_m - np.where(hit, t, 0)).max() < 1e-3
    assert np.abs(sweep.intensity[hit] / 0.14 - d[0][hit]).max() < 1e-3
    assert set(sweep.labels[hit]) == {50}


def test_turned_cylinder_standing_on_its_axis():
    rod = body(Shape.CYLINDER, AT + [0.0, 6.0, -0.5], (0.4, 0.4, 1.0), 0, 80, (0, 0, 0), yaw_rad=0.7)
    sweep = cast_sweep(SENSOR, rod, None, still(), 0.1)
    azimuth = np.pi - (np.arange(360) + 0.5) * 2 * np.pi / 360
    side = 6.0 * np.sin(azimuth - np.pi / 2)
    flat = 6.0 * np.cos(azimuth - np.pi / 2) - np.sqrt(np.maximum(0.16 - side**2, 0))
    tangent = np.tan(np.radians(np.linspace(12, -25, 48)))[:, None]
    hit = (np.abs(side) < 0.4) & (flat > 0) & (np.abs(tangent * flat + 0.5) < 1.0)
    wanted = np.where(hit, flat * np.sqrt(1 + tangent**2), 0)
    assert hit.sum() > 30
    assert np.abs(sweep.range_m - wanted).max() < 1e-3


def inside(shape: int, p: np.ndarray, half: np.ndarray, taper: np.ndarray) -> np.ndarray:
    """Whether points (3, ...) are in a body: its definition."""
    if shape == Shape.BLOCK:
        x_ok = np.abs(p[0]) < half[0] - taper[0] * p[2]
        return x_ok & (np.abs(p[1]) < half[1] - taper[1] * p[2]) & (np.abs(p[2]) < half[2])
    if shape == Shape.ELLIPSOID:
        return ((p / half.reshape(3, *(1,) * (p.ndim - 1))) ** 2).sum(0) < 1
    return (np.hypot(p[0], p[1]) < half[0]) & (np.abs(p[2]) < half[2])


@pytest.mark.parametrize(("shape", "taper"), [
    (Shape.BLOCK, (0.0, 0.0)), (Shape.BLOCK, (0.5, 0.2)), (Shape.BLOCK, (0.0, 1.39)), (Shape.ELLIPSOID, (0.0, 0.0)),
    (Shape.CYLINDER, (0.0, 0.0)),
])  # fmt: skip
def test_bodies_against_small_steps(shape, taper):
    rng = np.random.default_rng(7)
    half = np.array([2.0, 1.4, 1.0]) if shape != Shape.CYLINDER else np.array([1.4, 1.4, 1.0])
    o = rng.uniform(-6, 6, (3, 400))
    o[:, inside(shape, o, half, np.array(taper))] = 6.0
    aim = rng.uniform(-1, 1, (3, 400)) * 2.2
    d = (aim - o) / np.linalg.norm(aim - o, axis=0)
    steps = np.arange(0, 22, 0.004)
    path = o[:, :, None] + steps * d[:, :, None]
    entered = inside(shape, path, half, np.array(taper))
    first = np.where(entered.any(1), steps[entered.argmax(1)], np.inf)
    long_enough = entered.sum(1) > 20  # chords longer than 8 cm: a step may jump over shorter ones
    t = intersect(shape, o[:, None].astype(np.float32), d[:, None].astype(np.float32),
                  half[None].astype(np.float32), np.array([taper], np.float32))[0]  # fmt: skip
    assert long_enough.sum() > 80
    assert np.abs(t[long_enough] - first[long_enough]).max() < 0.005
    assert np.isinf(t[~entered.any(1)]).mean() > 0.97


def test_ground_with_kerbs_against_small_steps():
    terrain = build_scene(3, 1.0).terrain
    pose = terrain.frame(20.0, -1.75)
    start = pose[:3, 3] + [0, 0, 2.0]
    rng = np.random.default_rng(0)
    azimuth, elevation = rng.uniform(-np.pi, np.pi, 600), np.radians(rng.uniform(-25, -2.5, 600))
    d = np.stack((np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)))
    t = terrain.relative_to(start).intersect(np.zeros((3, 600), np.float32), d.astype(np.float32), 60.0)
    steps = np.arange(0, 60, 0.01)
    x, y, z = (start[i] + steps * d[i][:, None] for i in range(3))
    below = z < terrain.height(x, y)
    first = np.where(below.any(1), steps[below.argmax(1)], np.inf)
    both = np.isfinite(first) & np.isfinite(t)
    assert (np.isfinite(first) == np.isfinite(t)).mean() > 0.99
    assert np.abs(t - first)[both].max() < 0.03
    hit = start[:, None] + t[both] * d[:, both]
    face = np.abs(terrain.beyond_kerb(hit[0], hit[1])) < 0.005
    assert np.abs(hit[2] - terrain.height(hit[0], hit[1]))[~face].max() < 2e-3


def test_culling_loses_nothing():
    scene = build_scene(5, 2.0)
    poses = np.stack([scene.world_SE3_vehicle(t) for t in (1.0, 1.1)])
    poses[:, 2, 3] += 2.0
    bodies = scene.at(1.05)
    tiles = _sweep_rays(SENSOR, poses, 0.1)
    hits = cast(tiles, bodies, None, 105.0)
    best = np.full(hits.distance_m.shape, np.inf)
    for i in range(len(bodies)):
        turn = bodies.rotation[i].astype(np.float32)
        o, d = (np.einsum("ij,tik->jtk", turn, tiles.rays[:, :, k]) for k in (0, 1))
        middle = (bodies.centre[i] - tiles.anchor)[:, None, None] + bodies.velocity[i][:, None, None] * tiles.delay_s
        o = o - np.einsum("ij,itk->jtk", turn, middle)
        size, taper = bodies.half[i : i + 1].astype(np.float32), bodies.taper[i : i + 1].astype(np.float32)
        flat = intersect(bodies.shape[i], o.reshape(3, 1, -1), d.reshape(3, 1, -1), size, taper)
        best = np.minimum(best, flat.reshape(best.shape))
    best[best > 105.0] = np.inf
    assert np.isfinite(best).sum() > 2000
    same = np.isclose(hits.distance_m, best, atol=2e-3) | (np.isinf(hits.distance_m) & np.isinf(best))
    assert (~same).sum() <= 3  # rays that graze an edge may fall on either side of it


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


def test_nothing_around():
    sweep = cast_sweep(SENSOR, far_away(), None, still(), 0.1)
    assert not sweep.range_m.any()
    assert not sweep.labels.any()
    tiles = _sweep_rays(SENSOR, still(), 0.1)
    assert (cast(tiles, far_away().select(slice(0, 0)), None, 105.0).body == NOTHING).all()
    assert (cast(tiles, far_away(), Terrain(), 105.0).body == GROUND).any()


def test_row_offsets_turn_the_beams():
    offsets = np.where(np.arange(48) % 2, 0.0, 0.1)
    sensor = SENSOR.with_rows(SENSOR.row_elevations_rad, offsets)
    wall = body(Shape.BLOCK, AT + [11.0, 0, 0], (1.0, 30.0, 30.0), 0, 50, (0, 0, 0))
    sweep = cast_sweep(sensor, wall, None, still(), 0.1)
    azimuth = np.pi - (np.arange(360) + 0.5) * 2 * np.pi / 360 + offsets[:, None]
    flat = np.cos(SENSOR.row_elevations_rad)[:, None] * np.cos(azimuth)
    seen = flat > 0.5
    assert np.abs(sweep.range_m[seen] - 10.0 / flat[seen]).max() < 1e-3


def test_a_car_is_closed_and_of_plausible_size():
    pose = np.eye(4)
    pose[:3, 3] = AT + [8.0, 0.0, -2.0]
    thing = car(np.random.default_rng(2)).placed(pose)
    sweep = cast_sweep(SENSOR, thing, None, still(), 0.1)
    hit = sweep.range_m > 0
    points = (sweep.range_m * beams())[:, hit]
    assert 5.4 < points[0].min() < 6.1
    assert 1.6 < np.ptp(points[1]) < 2.2
    assert -2.0 < points[2].min() < points[2].max() < -0.25
    assert set(sweep.labels[hit]) == {10}
