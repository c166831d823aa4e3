"""Lane lines drawn into cameras: over the paint of synthetic roads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.clips.controls.lanes import CONTROL
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.synth import pinhole_rig, synthesize_drive
from cosmos_lidar.synth.camera import render
from tests.shards.cameras import camera_clip

SIZE = (144, 256)


def test_lines_are_where_the_road_is_painted() -> None:
    """Nearly all paint from 8 to 25 m is under a line; most of the image is black."""
    clip = synthesize_drive(4, uniform_sensor(4, 16), 2, cameras=pinhole_rig(("front",), SIZE[1], SIZE[0]))
    (camera,) = clip.cameras.values()
    drive = camera.read.drive
    scene = replace(drive.scene, terrain=replace(drive.scene.terrain, crossings_m=()), movers=())
    exact = render(scene, camera.model, camera.world_SE3_camera[1], 0.1)
    wide = replace(clip, lane_lines=replace(clip.lane_lines, drive=_with(drive, scene)))
    image = CONTROL.open(wide)(camera, 1, None)
    drawn = image.any(-1)
    grown = drawn.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            grown |= np.roll(drawn, step, axis)
    paint = (exact.labels == 60) & (exact.depth_m > 8) & (exact.depth_m < 25)  # nearer, it is wider
    assert paint.sum() > 50
    assert grown[paint].mean() > 0.9
    assert drawn.mean() < 0.2
    assert (image[drawn][:, 0] > image[drawn][:, 2]).all()  # yellow


def _with(drive: object, scene: object) -> object:
    """The drive with another scene."""
    changed = replace(drive)
    changed.__dict__["scene"] = scene
    return changed


def test_lines_are_refused_where_there_are_none() -> None:
    with pytest.raises(DataError, match="no lane lines in it"):
        CONTROL.open(camera_clip("a"))


def test_lines_of_a_clip_behind_the_camera_and_far_away() -> None:
    clip = camera_clip("a", frames=1)
    camera, far = clip.cameras["pinhole_front"], np.array([[500.0, 0, 0], [600.0, 0, 0]])
    behind = np.array([[-50.0, 0, 0], [-10.0, 0, 0]])
    assert not CONTROL.open(replace(clip, lane_lines=lambda: [far, behind]))(camera, 0, None).any()
    ahead = replace(clip, lane_lines=lambda: [np.array([[4.0, 0, 0], [30.0, 0, 0]])])
    image = CONTROL.open(ahead)(camera, 0, None)
    assert image.any()
    assert set(np.flatnonzero(image.any((0, 2)))) <= {31, 32}  # straight ahead
    assert not image[:24].any()  # it lies on the ground
