from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips.readers.nuplan.records import CameraRecords, five, mounting, numbers, track_of
from cosmos_lidar.errors import DataError

FILE = Path("LOG.db")


def test_mountings_of_quaternions_and_matrices_are_alike():
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    half = np.sqrt(0.5)
    by_quaternion = mounting([half, 0, 0, half], [1, 2, 3], FILE, "c", "camera")
    assert np.allclose(by_quaternion, mounting(turn, np.array([1, 2, 3]), FILE, "c", "camera"))
    assert np.allclose(by_quaternion[:3, :3], turn)
    assert by_quaternion[:3, 3].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("rotation", "message"),
    [
        ([2.0, 0, 0, 0], "no unit quaternion .*LOG.db, clip c, key camera, rotation"),
        (np.diag([1.0, 1, -1]), "no rotation .*key camera, rotation"),
        (["a", 0, 0, 0], "could not convert.*key camera, rotation"),
        ([1.0, 0, 0], r"shape \(3,\).*key camera, rotation"),
        (None, "key camera, rotation"),
    ],
)
def test_what_is_no_mounting(rotation, message):
    with pytest.raises(DataError, match=message):
        mounting(rotation, [0, 0, 0], FILE, "c", "camera")


def test_distortion_of_fewer_and_more_coefficients():
    assert five(None, FILE, "c", "k").tolist() == [0] * 5
    assert five([0.1, 0.2], FILE, "c", "k").tolist() == [0.1, 0.2, 0, 0, 0]
    assert five(np.array([[1, 2, 3, 4, 5, 0, 0, 0]]), FILE, "c", "k").tolist() == [1, 2, 3, 4, 5]
    with pytest.raises(DataError, match="6 coefficients.*key k, distortion"):
        five([0, 0, 0, 0, 0, 0.1], FILE, "c", "k")
    with pytest.raises(DataError, match="not finite"):
        numbers([np.nan], (1,), FILE, "c", "k")


def test_a_track_counts_from_whole_meters_near_it():
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, :3, 3] = [[664_430.25, 4_000_000.5, -3.25], [664_431.25, 4_000_000.5, -3.25], [664_432.25, 4_000_000.5, 0]]
    track, notes = track_of(np.array([0, 10, 20]), poses, FILE, "c")
    assert track.world_SE3_body[:, 0, 3].tolist() == [0.25, 1.25, 2.25]
    assert track.world_SE3_body[0, 2, 3] == 0.75
    assert notes == ("coordinates of a map, less 664430, 4000000, -4",)
    assert poses[0, 0, 3] == 664_430.25
    with pytest.raises(DataError, match="no pose in it.*key ego_pose"):
        track_of(np.zeros(0, np.int64), poses[:0], FILE, "c")


def test_lenses_fit_images_of_another_size():
    lens = np.array([[80.0, 0, 48], [0, 81.0, 40], [0, 0, 1]]), np.zeros(5)
    camera = CameraRecords(np.eye(4), lens, (96, 80), [])
    assert (camera.model((96, 80)).fx, camera.model((96, 80)).distortion) == (80.0, ())
    assert camera.model((48, 40)).fx == 40.0
    assert CameraRecords(np.eye(4), lens, None, []).model((48, 40)).fx == 80.0
