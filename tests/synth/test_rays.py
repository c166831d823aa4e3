import numpy as np

from cosmos_lidar.synth import cast_sweep
from cosmos_lidar.synth.lidar import _sweep_rays
from cosmos_lidar.synth.primitives import intersect
from cosmos_lidar.synth.rays import GROUND, NOTHING, cast, patches
from cosmos_lidar.synth.terrain import Terrain
from cosmos_lidar.synth.town import build_scene
from tests.synth.street import SENSOR, far_away, still


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
        middle = (bodies.center[i] - tiles.anchor)[:, None, None] + bodies.velocity[i][:, None, None] * tiles.delay_s
        o = o - np.einsum("ij,itk->jtk", turn, middle)
        size, taper = bodies.half[i : i + 1].astype(np.float32), bodies.taper[i : i + 1].astype(np.float32)
        flat = intersect(bodies.shape[i], o.reshape(3, 1, -1), d.reshape(3, 1, -1), size, taper)
        best = np.minimum(best, flat.reshape(best.shape))
    best[best > 105.0] = np.inf
    assert np.isfinite(best).sum() > 2000
    same = np.isclose(hits.distance_m, best, atol=2e-3) | (np.isinf(hits.distance_m) & np.isinf(best))
    assert (~same).sum() <= 3  # rays that graze an edge may fall on either side of it


def test_nothing_around():
    sweep = cast_sweep(SENSOR, far_away(), None, still(), 0.1)
    assert not sweep.range_m.any()
    assert not sweep.labels.any()
    tiles = _sweep_rays(SENSOR, still(), 0.1)
    assert (cast(tiles, far_away().select(slice(0, 0)), None, 105.0).body == NOTHING).all()
    assert (cast(tiles, far_away(), Terrain(), 105.0).body == GROUND).any()


def test_patches_cover_every_pixel_and_repeat_the_edges():
    found = patches(5, 7, 2, 3)
    assert found.shape == (9, 6)
    assert found[0].tolist() == [0, 1, 2, 7, 8, 9]
    assert found[-1].tolist() == [34] * 6  # the last row and column, repeated
    assert set(found.ravel()) == set(range(35))
