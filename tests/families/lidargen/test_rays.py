"""Rays of tokens: a point on the ray of an image's token is in that token, on that of the lidar's in that one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.families.lidargen.canvas import CanvasLayout
from cosmos_lidar.families.lidargen.rays import in_vehicle_axes, lidar_rays, mirror_rays, place_rays
from cosmos_lidar.sensors import load_sensor, project_points, uniform_sensor
from cosmos_lidar.sensors.camera_rays import camera_rays
from cosmos_lidar.synth import pinhole_rig


def test_of_range_maps():
    sensor = replace(uniform_sensor(32, 512), first_azimuth_rad=0.3)
    rows = 32 * sensor.format.repeat_rows // 8
    columns = 512 // sensor.format.pair_columns
    rays = lidar_rays(sensor, 0, (rows, columns // 8), 8)
    assert rays.shape == (rows // 2, columns // 16, 6)
    assert not rays[..., :3].any()
    placed = project_points((rays[..., 3:] * 20.0).reshape(-1, 3), sensor).range_m
    row, column = np.nonzero(placed)
    tokens = (row * sensor.format.repeat_rows // 16, column // sensor.format.pair_columns // 16)
    assert len(set(zip(*tokens, strict=True))) == rays.shape[0] * rays.shape[1]


def test_of_the_published_sensor_and_cut():
    sensor = load_sensor("pandar128")
    whole = lidar_rays(sensor, 0, (64, 225), 8)
    cut = lidar_rays(sensor, 4, (64, 224), 8)
    assert cut.shape == (32, 112, 6)
    middle = np.degrees(np.arctan2(cut[16, :, 4], cut[16, :, 3]))
    assert np.allclose(np.abs(np.diff(np.unwrap(np.radians(middle)))), np.radians(3.2), atol=1e-4)  # 16 of 1800 columns
    assert abs(np.degrees(np.arctan2(*whole[16, 0, [4, 3]])) - middle[0]) == pytest.approx(0.8, abs=1e-3)


def test_on_the_canvas():
    layout = CanvasLayout((8, 12), (6, 10), 2)
    lidar, image = np.ones((4, 6, 6)), np.full((3, 5, 6), 2.0)
    placed = place_rays(lidar, [image, image * 2], layout)
    assert placed.shape == (3, 4, 6, 6)
    assert (placed[0] == 1).all()
    assert (placed[2, :3, :5] == 4).all()
    assert not placed[1, 3:].any()
    assert not placed[1, :, 5:].any()


@pytest.mark.parametrize("first_azimuth", [np.pi, 0.4])
def test_of_a_mirror(first_azimuth: float):
    """Twice mirrored is as before, and the lidar of a mirror sees in column c what the lidar sees in the last but c."""
    sensor = replace(uniform_sensor(16, 128), first_azimuth_rad=first_azimuth)
    (camera,) = pinhole_rig(("left",), 320)
    layout = CanvasLayout((8, 8), (6, 10), 1)
    lidar = lidar_rays(sensor, 0, layout.lidar, 8)
    rays = place_rays(lidar, [camera_rays(camera.model, camera.vehicle_SE3_camera, (48, 80), 16)], layout)
    mirrored = mirror_rays(rays, sensor, layout)
    assert np.allclose(mirrored[0], rays[0], atol=1e-6)  # the mirror of a spinning lidar is one
    assert not np.allclose(mirrored[1], rays[1], atol=0.1)
    assert np.allclose(mirror_rays(mirrored, sensor, layout), rays, atol=1e-6)
    if first_azimuth == np.pi:  # the mirror stands along x
        assert np.allclose(mirrored[1, :3, :5], rays[1, :3, 4::-1] * [1, -1, 1, 1, -1, 1], atol=1e-6)


def test_of_a_lidar_with_a_place_on_its_vehicle():
    """A point on a ray is the same point in the vehicle's axes, and the lidar's own rays start where it sits."""
    pose = np.array([[0, -1, 0, 0.9], [1, 0, 0, 0.1], [0, 0, 1, 1.8], [0, 0, 0, 1.0]])
    sensor = replace(uniform_sensor(16, 128), vehicle_SE3_lidar=pose)
    (camera,) = pinhole_rig(("left",), 320)
    layout = CanvasLayout((8, 8), (6, 10), 1)
    image = camera_rays(camera.model, camera.vehicle_SE3_camera, (48, 80), 16)
    rays = place_rays(lidar_rays(sensor, 0, layout.lidar, 8), [image], layout)
    found = in_vehicle_axes(rays, sensor)
    assert np.allclose(found[0, :4, :4, :3], pose[:3, 3])
    wanted = (image[..., :3] + 7 * image[..., 3:]) @ pose[:3, :3].T + pose[:3, 3]
    assert np.allclose(found[1, :3, :5, :3] + 7 * found[1, :3, :5, 3:], wanted, atol=1e-5)
    assert not found[1, 3:].any()
    assert in_vehicle_axes(rays, uniform_sensor(16, 128)) is rays
