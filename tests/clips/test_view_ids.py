"""View ids: published names, directions, rigs with more cameras than rows, options."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.clip import CameraStream
from cosmos_lidar.clips.view_ids import direction_deg, parse_views, view_ids
from cosmos_lidar.errors import UserError
from cosmos_lidar.sensors.pinhole import PinholeCamera
from cosmos_lidar.synth.rigs import mount
from tests.shards.cameras import IDS, NAMES, camera_clip


def camera(name: str, yaw_deg: float | None, fov_deg: float = 90.0) -> CameraStream:
    lens = PinholeCamera.from_fov(64, 48, np.radians(fov_deg))
    pose = None if yaw_deg is None else mount((1.0, 0.0, 1.5), yaw_deg)
    return CameraStream(name, np.arange(1), lambda index: np.zeros((48, 64, 3), np.uint8), lens, ego_SE3_camera=pose)


def test_published_names_have_their_published_ids():
    assert view_ids(list(camera_clip("a").cameras.values())) == dict(zip(NAMES, IDS, strict=True))


def test_directions_decide_for_other_names():
    yaws = {"f": 0, "fr": -55, "br": -110, "b": 178, "bl": 110, "fl": 55}  # nuScenes
    assert view_ids([camera(*one) for one in yaws.items()]) == {"f": 0, "fr": 1, "br": 2, "b": 3, "bl": 4, "fl": 5}
    assert direction_deg(camera("x", -55)) == pytest.approx(-55)


def test_a_narrow_lens_that_looks_ahead_is_the_tele():
    assert view_ids([camera("narrow", 0, 30), camera("wide", 0, 120)]) == {"narrow": 6, "wide": 0}


def test_two_rear_cameras_and_more_than_seven_get_ids_of_their_own():
    seven = {"f": 0, "fl": 45, "fr": -45, "sl": 99, "sr": -99, "rl": 153, "rr": -153}  # Argoverse 2
    found = view_ids([camera(*one) for one in seven.items()])
    assert (found["f"], found["fl"], found["fr"], found["sl"], found["sr"]) == (0, 5, 1, 4, 2)
    assert len(set(found.values())) == 7
    eleven = view_ids([camera(str(number), number * 32.0) for number in range(11)])
    assert sorted(eleven.values()) == list(range(11))


def test_without_directions_the_order_counts():
    assert view_ids([camera("b", None), camera("a", 0)]) == {"b": 0, "a": 1}


def test_the_option():
    known = {"front": 0, "left": 5, "right": 1}
    assert parse_views("all", known) == known
    assert list(parse_views("left, front=3", known).items()) == [("left", 5), ("front", 3)]
    for text, message in (
        ("top", "no camera 'top'; valid: all, front, left, right"),
        ("left,left", "named twice"),
        ("left=x", "expected a number from 0 on"),
        ("front,left=0", "cameras front and left both have view id 0"),
    ):
        with pytest.raises(UserError, match=message):
            parse_views(text, known)


def test_real_surround_rigs(test_data: Path):
    (scene,) = open_clips(test_data / "ddad_dgp")[:1]
    assert view_ids(list(scene.cameras.values())) == {
        "CAMERA_01": 0, "CAMERA_05": 5, "CAMERA_06": 1, "CAMERA_07": 4, "CAMERA_08": 2, "CAMERA_09": 3,
    }  # fmt: skip
