"""What rays find where they hit, on bodies and ground whose surfaces are known by hand."""

import numpy as np

from cosmos_lidar.synth.labels import Material
from cosmos_lidar.synth.primitives import Primitives, Shape, body
from cosmos_lidar.synth.rays import RayTiles, cast
from cosmos_lidar.synth.surface import STOREY_M, WINDOW_PITCH_M, Surface, look_up
from cosmos_lidar.synth.terrain import Terrain
from tests.synth.street import far_away


def look(starts, directions, bodies: Primitives, terrain: Terrain | None = None, anchor=(0.0, 0.0, 0.0)) -> Surface:
    """Surface at the hits of single rays."""
    directions = np.asarray(directions, np.float64)
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    rays = np.stack([np.asarray(starts, np.float64), directions], 1).transpose(2, 1, 0)[None].astype(np.float32)
    tiles = RayTiles(rays, None, np.array(anchor), np.arange(len(directions))[None])
    return look_up(tiles, cast(tiles, bodies, terrain, 100.0), bodies, terrain)


def test_point_normal_and_incidence_of_a_turned_wall():
    wall = body(Shape.BLOCK, (10.0, 0, 0), (1.0, 5.0, 5.0), Material.METAL, 80, (0.1, 0.2, 0.3), yaw_rad=np.pi / 6)
    found = look([(0, 0, 0), (0, 0, 0)], [(1, 0, 0), (0, 0, 1)], wall)
    assert found.ray.tolist() == [0]  # the second ray flies past
    normal = np.array([-np.cos(np.pi / 6), -np.sin(np.pi / 6), 0])
    distance = 10.0 - 1.0 / np.cos(np.pi / 6)
    assert np.allclose(found.normal[:, 0], normal, atol=1e-5)
    assert np.allclose(found.cosine, np.cos(np.pi / 6), atol=1e-5)
    assert np.allclose(found.distance_m, distance, atol=1e-4)
    assert np.allclose(found.point[:, 0], [distance, 0, 0], atol=1e-4)
    assert found.label.tolist() == [80]
    assert np.allclose(found.color, [[0.1, 0.2, 0.3]])


def test_walls_have_panes_in_the_middle_of_every_window_and_none_between():
    """A facade of 5.2 m x 9 m: two columns of windows on three floors, on both sides of its edges and middles."""
    wall = body(Shape.BLOCK, (10, 0, 4.5), (1.0, WINDOW_PITCH_M, 4.5), Material.FACADE, 50, (0.7, 0.6, 0.5))
    panes = [(0, y, z) for y in (-1.3, 1.3) for z in (1.7, 1.7 + STOREY_M, 1.7 + 2 * STOREY_M)]
    bricks = [(0, y, z) for y in (-2.5, 0.0, 2.5) for z in (1.7, 0.2, 2.9)]
    found = look(panes + bricks, [(1, 0, 0)] * 15, wall)
    assert (found.material[:6] == Material.GLASS).all()
    assert (found.material[6:] == Material.FACADE).all()
    assert np.allclose(found.color[6:], [0.7, 0.6, 0.5])


def test_glass_cabins_have_painted_roofs():
    cabin = body(Shape.BLOCK, (10, 0, 1), (1.0, 1.0, 0.5), Material.GLASS, 10, (0.5, 0.1, 0.1))
    found = look([(10, 0, 9), (0, 0, 1)], [(0, 0, -1), (1, 0, 0)], cabin)
    assert found.material.tolist() == [Material.PAINT, Material.GLASS]
    assert np.allclose(found.color[0], [0.5, 0.1, 0.1])


def test_ground_across_the_road():
    """Straight flat road along x, seen from 5 m above: markings, road, kerb, sidewalk, grass."""
    terrain = Terrain()
    lateral = [0.0, 3.55, 1.0, 5.9, 7.0, 20.0]
    found = look([(1.0, y, 5.0) for y in lateral], [(0, 0, -1)] * 6, far_away(), terrain, anchor=(0.0, 0.0, 0.0))
    assert [Material(m) for m in found.material] == [
        Material.MARKING, Material.MARKING, Material.ROAD, Material.KERB, Material.SIDEWALK, Material.GRASS
    ]  # fmt: skip
    assert found.label.tolist() == [60, 60, 40, 48, 48, 72]
    height = [0, 0, 0, 0.13, 0.13, 0.13]
    assert np.allclose(found.distance_m, 5 - np.array(height), atol=5e-3)
    assert np.allclose(found.normal, np.array([[0], [0], [1]]), atol=1e-6)
    assert np.allclose(found.cosine, 1.0)


def test_dashes_of_the_centre_line_are_4_m_of_9():
    x = np.arange(0.5, 27.0, 1.0)
    found = look([(v, 0.0, 5.0) for v in x], [(0, 0, -1)] * len(x), far_away(), Terrain())
    assert ((found.material == Material.MARKING) == (x % 9 < 4)).all()
