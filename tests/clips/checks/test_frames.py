from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cosmos_lidar.clips.checks._frames import conventions, given_motion


def pose(yaw_deg: float, *place: float) -> np.ndarray:
    result = np.eye(4)
    result[:3, :3] = Rotation.from_euler("z", yaw_deg, degrees=True).as_matrix()
    result[:3, 3] = place
    return result


FIRST, SECOND = pose(30, 100, 50, 2), pose(33, 101, 50.6, 2.1)
TRUE = np.linalg.inv(FIRST) @ SECOND
MOUNT = pose(90, 1.0, 0.2, 1.8)
CAMERA = np.eye(4)
CAMERA[:3, :3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]  # x right, y down, z forward


def in_mirror(one: np.ndarray) -> np.ndarray:
    mirror = np.diag([1.0, -1.0, 1.0, 1.0])
    return mirror @ one @ mirror


def in_centimeters(one: np.ndarray) -> np.ndarray:
    scaled = one.copy()
    scaled[:3, 3] *= 100
    return scaled


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("vehicle", lambda one: one @ np.linalg.inv(MOUNT)),
        ("inverse", np.linalg.inv),
        ("vehicle_inverse", lambda one: np.linalg.inv(one @ np.linalg.inv(MOUNT))),
        ("axes z -x -y", lambda one: CAMERA @ one @ np.linalg.inv(CAMERA)),
        ("left_handed", in_mirror),
        ("unit centimeters", in_centimeters),
    ],
)
def test_each_convention_undoes_what_it_names(name, change):
    """The faults are made here from their definitions; the true motion must come back."""
    wrong = change(FIRST), change(SECOND)
    motions = {one.name: one.motion for one in conventions(*wrong, MOUNT)}
    assert np.allclose(motions[name], TRUE, atol=1e-9)
    assert not np.allclose(given_motion(*wrong), TRUE, atol=1e-3)


def test_reversed_and_moved():
    motions = {one.name: one.motion for one in conventions(SECOND, FIRST, None)}
    assert np.allclose(motions["reversed"], TRUE)
    assert np.array_equal(motions["moved"], np.eye(4))
    assert "vehicle" not in motions


def test_the_axes_are_all_turns_by_right_angles():
    turns = [one for one in conventions(FIRST, SECOND, None) if one.name.startswith("axes")]
    assert len({one.name for one in turns}) == len(turns) == 23
    for one in turns:
        assert np.linalg.norm(one.motion[:3, 3]) == pytest.approx(np.linalg.norm(TRUE[:3, 3]))
        assert np.linalg.det(one.motion[:3, :3]) == pytest.approx(1.0)
