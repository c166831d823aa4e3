"""Lidar depth drawn into cameras: against the exact depth of synthetic images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.controls.depth import CONTROL, brightness
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.synth import pinhole_rig, synthesize_drive
from cosmos_lidar.synth.camera import render
from tests.shards.cameras import camera_clip

SIZE = (72, 128)


@pytest.fixture(scope="module")
def clip() -> Clip:
    sensor = uniform_sensor(48, 720)
    return synthesize_drive(4, sensor, 2, cameras=pinhole_rig(("front", "left"), SIZE[1], SIZE[0]), noise=None)


@pytest.mark.parametrize("name", ["camera_front", "camera_left"])
def test_returns_are_where_the_camera_sees_them(clip: Clip, name: str) -> None:
    """The second image, taken while the lidar turns: most returns are as bright as the exact depth of the pixel."""
    camera = clip.cameras[name]
    drive = camera.read.drive
    time_s = 1 / 10
    exact = render(drive.scene, camera.model, camera.world_SE3_camera[1], time_s, bodies=drive.bodies(time_s))
    image = CONTROL.open(clip)(camera, 1, None)
    assert image.shape == (*SIZE, 3)
    assert np.ptp(image, axis=-1).max() == 0
    drawn = image[..., 0] > 0
    assert 0.1 < drawn.mean() < 0.9
    wanted = brightness(np.where(exact.depth_m > 0, exact.depth_m, np.inf))
    off = np.abs(image[..., 0].astype(int) - wanted)[drawn]
    assert np.median(off) <= 1
    assert np.mean(off <= 4) > 0.85  # 10 % of the distance; the others lie on edges


def test_another_size_is_the_same_view(clip: Clip) -> None:
    draw, camera = CONTROL.open(clip), clip.cameras["camera_front"]
    whole, half = draw(camera, 0, None)[..., 0], draw(camera, 0, (36, 64))[..., 0]
    brightest = whole.reshape(36, 2, 64, 2).max((1, 3))
    both = (brightest > 0) & (half > 0)
    assert both.mean() > 0.2
    assert np.mean(np.abs(brightest[both].astype(int) - half[both]) <= 2) > 0.9


def test_brightness() -> None:
    depths = np.array([0.2, 1.0, np.sqrt(120.0), 120.0, 500.0, np.inf])
    assert brightness(depths).tolist() == [255, 255, 155, 55, 55, 0]


def test_images_without_a_sweep_are_black(clip: Clip) -> None:
    camera = clip.cameras["camera_front"]
    late = replace(camera, timestamps_us=camera.timestamps_us + 10_000_000)
    assert not CONTROL.open(clip)(late, 0, None).any()


def test_a_recording_without_a_lidar_is_refused() -> None:
    with pytest.raises(DataError, match="no lidar in it"):
        CONTROL.open(camera_clip("a"))
