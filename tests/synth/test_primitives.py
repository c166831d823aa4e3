import numpy as np
import pytest

from cosmos_lidar.synth import cast_sweep
from cosmos_lidar.synth.primitives import Shape, body, intersect
from tests.synth.street import AT, SENSOR, beams, still


def test_sphere():
    center = np.array([9.0, -4.0, 1.0])
    sweep = cast_sweep(SENSOR, body(Shape.ELLIPSOID, AT + center, (2.0,) * 3, 0, 10, (0, 0, 0)), None, still(), 0.1)
    along = np.einsum("i,irc->rc", center, beams())
    inside = 4.0 - (center @ center - along**2)
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
