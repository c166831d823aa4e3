import numpy as np

from cosmos_lidar.synth import cast_sweep
from cosmos_lidar.synth.terrain import Terrain
from cosmos_lidar.synth.town import build_scene
from tests.synth.street import AT, SENSOR, beams, far_away, still


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


def test_height_and_slope_together_are_those_apart():
    terrain = build_scene(3, 1.0).terrain
    x, y = np.random.default_rng(0).uniform(-90, 90, (2, 1001)).astype(np.float32)
    together = terrain.base_and_gradient(x, y)
    for value, apart in zip(together, (terrain.base(x, y), *terrain.gradient(x, y)), strict=True):
        assert value.dtype == apart.dtype
        assert (value == apart).all()
