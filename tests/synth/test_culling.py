"""Culling: images with it and without it are the same, bit for bit; what cones and boxes leave out is never met."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from cosmos_lidar.sensors.sensor import uniform_sensor
from cosmos_lidar.synth import build_scene, pinhole_rig, rays, render, synthesize_drive
from cosmos_lidar.synth.culling import Boxes, Cones, candidates, nearest_possible
from cosmos_lidar.synth.labels import Material
from cosmos_lidar.synth.primitives import Shape, body, concatenate, intersect


def test_images_do_not_depend_on_culling(monkeypatch: pytest.MonkeyPatch):
    scene = build_scene(3, 1.0)
    camera = pinhole_rig(("left",), 48, 32)[0]
    pose = scene.world_SE3_vehicle(0.4) @ camera.vehicle_SE3_camera
    culled = render(scene, camera.model, pose, 0.4)

    def all_pairs(cones: Cones, boxes: Boxes, max_range_m: float):
        tile, number = np.mgrid[: len(cones), : len(boxes.radius)]
        return tile.reshape(-1), number.reshape(-1)

    monkeypatch.setattr(rays, "candidates", all_pairs)
    monkeypatch.setattr(
        rays, "nearest_possible", lambda cones, boxes, bundle, number: np.zeros(len(bundle), np.float32)
    )
    plain = render(scene, camera.model, pose, 0.4)
    assert np.array_equal(culled.rgb, plain.rgb)
    assert np.array_equal(culled.depth_m, plain.depth_m)
    assert np.array_equal(culled.labels, plain.labels)
    assert len(np.unique(culled.labels)) > 4


@pytest.mark.parametrize("wide", [0.05, 0.6, 3.0])
def test_no_ray_meets_a_body_nearer_than_its_bound(wide: float):
    rng = np.random.default_rng(1)
    kinds = rng.integers(0, 3, 300)
    bodies = concatenate([
        body(Shape(kind), tuple(rng.uniform(-40, 40, 3)), tuple(rng.uniform(0.2, 6, 3)), Material.PAINT, 10, (1, 1, 1),
             (0.1, 0.0) if kind == Shape.BLOCK else (0, 0), rng.uniform(0, 6))
        for kind in kinds
    ])  # fmt: skip
    axis = rng.normal(size=(40, 3))
    direction = (axis / np.linalg.norm(axis, axis=1, keepdims=True))[:, :, None] + wide * rng.normal(
        size=(40, 3, 16)
    ) / 3
    direction = (direction / np.linalg.norm(direction, axis=1, keepdims=True)).astype(np.float32)
    start = (rng.uniform(-20, 20, (40, 3, 1)) + rng.uniform(-1, 1, (40, 3, 16))).astype(np.float32)
    cones, boxes = Cones.around(start, direction), Boxes.of(bodies, np.zeros(3), 0.0)
    bundle, number = (part.reshape(-1) for part in np.mgrid[:40, : len(bodies)])
    near = nearest_possible(cones, boxes, bundle, number).reshape(40, -1)
    kept = set(zip(*(part.tolist() for part in candidates(cones, boxes, 1e6)), strict=True))
    met = 0
    for one in range(len(bodies)):
        turn = bodies.rotation[one].astype(np.float32)
        o, d = (np.einsum("ij,tik->jtk", turn, part) for part in (start - boxes.center[one][:, None], direction))
        half, taper = (np.repeat(part[one : one + 1].astype(np.float32), 40, 0) for part in (bodies.half, bodies.taper))
        distance = intersect(int(bodies.shape[one]), o, d, half, taper)
        hit = np.isfinite(distance)
        assert (distance[hit] >= np.broadcast_to(near[:, one, None], hit.shape)[hit]).all()
        assert all((int(tile), one) in kept for tile in np.flatnonzero(hit.any(1)))
        met += int(hit.sum())
    assert met > 200
    assert wide > 1 or np.isinf(near).mean() > 0.5  # most pairs are left out


def test_hits_of_any_body_are_those_of_the_nearest():
    scene = build_scene(4, 1.0)
    bodies = scene.at(0.2)
    camera = pinhole_rig(("front",), 64, 48)[0]
    pose = scene.world_SE3_vehicle(0.2) @ camera.vehicle_SE3_camera
    from cosmos_lidar.synth.camera import _view_rays

    pixels, view = _view_rays(camera.model)
    direction = np.einsum("ij,tjk->tik", pose[:3, :3].astype(np.float32), view)
    tiles = rays.RayTiles(np.stack((np.zeros_like(direction), direction), 2), None, pose[:3, 3], pixels)
    nearest = rays.cast(tiles, bodies, None, 60.0).body != rays.NOTHING
    needed = np.random.default_rng(0).random(nearest.shape) < 0.7
    some = rays.cast(tiles, bodies, None, 60.0, needed).body != rays.NOTHING
    assert np.array_equal(some[needed], nearest[needed])
    assert not some[~needed].any()
    assert 0.1 < nearest.mean() < 0.95


def test_moments_are_kept_and_stay_behind():
    drive = synthesize_drive(3, uniform_sensor(4, 32), 1).read_sweep.__self__
    assert drive.bodies(0.05) is drive.bodies(0.05)
    assert np.array_equal(drive.bodies(0.05).center, drive.scene.at(0.05).center)
    for number in range(70):
        drive.bodies(float(number))
    assert len(drive._moments) == 64
    assert "_moments" not in vars(pickle.loads(pickle.dumps(drive)))
