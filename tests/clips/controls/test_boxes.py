"""Boxes drawn into cameras: over the road users of synthetic images, in front of each other, and what has none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.boxes import Boxes
from cosmos_lidar.clips.clip import CameraStream, Clip
from cosmos_lidar.clips.controls.boxes import COLORS, CONTROL
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.synth import ftheta_rig, pinhole_rig, synthesize_drive
from cosmos_lidar.synth.camera import render
from cosmos_lidar.synth.labels import ROAD_USERS
from tests.shards.cameras import camera_clip

SIZE = (72, 128)


@pytest.mark.parametrize("rig", [pinhole_rig(("front",), SIZE[1], SIZE[0]), ftheta_rig(("front",), SIZE[1])])
def test_road_users_are_in_their_boxes(rig: tuple) -> None:
    clip = synthesize_drive(4, uniform_sensor(4, 16), 2, cameras=rig)
    (camera,) = clip.cameras.values()
    drive = camera.read.drive
    exact = render(drive.scene, camera.model, camera.world_SE3_camera[1], 0.1, bodies=drive.bodies(0.1))
    image = CONTROL.open(clip)(camera, 1, None)
    users = np.isin(exact.labels, ROAD_USERS)
    assert image.shape == (*SIZE, 3)
    assert users.sum() > 50
    assert image.any(-1)[users].mean() > 0.97
    assert image.any(-1).mean() < 0.6


def clip_with(*boxes: tuple[float, float, str]) -> tuple[Clip, CameraStream]:
    """A clip whose front camera looks along x, with cubes of 2 m at (x, y)."""
    clip = camera_clip("a", frames=1)
    poses = np.tile(np.eye(4), (len(boxes), 1, 1))
    poses[:, 0, 3], poses[:, 1, 3], poses[:, 2, 3] = [x for x, _, _ in boxes], [y for _, y, _ in boxes], 1.5
    kinds, tracks = tuple(kind for *_, kind in boxes), tuple(str(number) for number in range(len(boxes)))
    found = Boxes(poses, np.full((len(boxes), 3), 2.0), kinds, tracks)
    return replace(clip, boxes=lambda time_us: found), clip.cameras["pinhole_front"]


def test_nearer_boxes_are_in_front() -> None:
    clip, camera = clip_with((9.0, 0.0, "person"), (20.0, 0.0, "vehicle"))
    middle = CONTROL.open(clip)(camera, 0, None)[24, 32].astype(float)
    assert np.argmax(middle) == int(np.argmax(COLORS["person"]))
    alone, camera = clip_with((20.0, 0.0, "vehicle"))
    assert np.argmax(CONTROL.open(alone)(camera, 0, None)[24, 32]) == int(np.argmax(COLORS["vehicle"]))


def test_boxes_behind_or_around_the_camera() -> None:
    clip, camera = clip_with((-9.0, 0.0, "vehicle"), (5.0, 40.0, "vehicle"))
    assert not CONTROL.open(clip)(camera, 0, None).any()
    around, camera = clip_with((1.5, 0.0, "vehicle"))  # the camera is in it
    assert CONTROL.open(around)(camera, 0, None).shape == (48, 64, 3)


def test_what_has_no_boxes_or_no_poses_is_refused() -> None:
    with pytest.raises(DataError, match="no boxes in it"):
        CONTROL.open(camera_clip("a"))
    clip, camera = clip_with((9.0, 0.0, "person"))
    with pytest.raises(DataError, match="camera pinhole_front has no poses"):
        CONTROL.open(clip)(replace(camera, world_SE3_camera=None), 0, None)


def test_boxes_of_ddad_are_around_returns(test_data: Path) -> None:
    """In boxes of a real scene are as many points as their labels count, all of them thinned alike in the sample."""
    (clip,) = open_clips(test_data / "ddad_dgp" / "scene_02")
    stamp = int(clip.timestamps_us[1, 0])
    boxes, pose = clip.boxes(stamp), clip.world_SE3_lidar[1, 0]
    assert set(boxes.kinds) == {"vehicle"}
    points = clip.points(1) @ pose[:3, :3].T + pose[:3, 3]
    (file,) = clip.source.parent.glob(f"bounding_box_3d/LIDAR/{stamp}*.json")
    counted = {str(one["instance_id"]): one["num_points"] for one in json.loads(file.read_text())["annotations"]}
    shares = []
    for world_SE3_box, size, track in zip(boxes.world_SE3_box, boxes.size_m, boxes.tracks, strict=True):
        local = (points - world_SE3_box[:3, 3]) @ world_SE3_box[:3, :3]
        if counted[track] > 100:
            shares.append((np.abs(local) < size / 2).all(-1).sum() / counted[track])
    assert len(shares) == 3
    assert max(shares) < 1.2 * min(shares)
