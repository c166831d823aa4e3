from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips.poses import pose_from_quaternion

pytest.importorskip("rosbags")

from cosmos_lidar.clips.readers.rosbag.frames import build_frames
from tests.clips.readers.rosbag.bags import IDENTITY, START_NS, Types

TYPES = Types(False)
HALF = 0.5**0.5
LEFT = (0, 0, HALF, HALF)  # a quarter turn to the left, x y z w
TIMES = np.array([START_NS, START_NS + 10**8])


def edges(*found: tuple, static: bool = False) -> list:
    return [(one, static) for one in TYPES.transforms(*found).transforms]


def test_poses_are_followed_to_the_root_and_interpolated():
    moving = edges((TIMES[0], "odom", "base", (0, 0, 0), IDENTITY), (TIMES[1], "odom", "base", (2, 0, 0), LEFT))
    static = edges((0, "/base", "/lidar", (1, 0, 0), IDENTITY), (0, "map", "odom", (0, 5, 0), IDENTITY), static=True)
    frames = build_frames(moving + static, [])
    assert frames.path("lidar") == ["lidar", "base", "odom", "map"]
    assert frames.world("lidar") == "map"
    found = frames.pose("lidar", "map", np.array([TIMES[0], TIMES[0] + 5 * 10**7, TIMES[1]]))
    eighth = pose_from_quaternion([np.cos(np.pi / 8), 0, 0, np.sin(np.pi / 8)], [1, 5, 0])
    assert np.allclose(found[0, :3, 3], [1, 5, 0])
    assert np.allclose(found[1, :3, :3], eighth[:3, :3])
    assert np.allclose(found[1, :3, 3], [1 + HALF, 5 + HALF, 0])
    assert np.allclose(found[2, :3, 3], [2, 6, 0])


def test_nothing_that_moves_is_no_world():
    frames = build_frames(edges((0, "base", "lidar", (1, 0, 0), IDENTITY), static=True), [])
    assert frames.world("lidar") is None
    assert frames.world("unknown") is None
    assert frames.pose("lidar", "unknown", TIMES) is None


def test_times_beyond_the_transforms_have_no_pose():
    frames = build_frames(edges((TIMES[0], "odom", "lidar", (0, 0, 0), IDENTITY)), [])
    assert frames.pose("lidar", "odom", TIMES) is not None
    assert frames.pose("lidar", "odom", TIMES + 2 * 10**9) is None
    assert frames.pose("lidar", "odom", TIMES - 2 * 10**9) is None


def test_mountings_against_each_other():
    static = edges((0, "base", "lidar", (0, 0, 2), LEFT), (0, "base", "camera", (1, 0, 2), IDENTITY), static=True)
    moving = edges((TIMES[0], "odom", "base", (0, 0, 0), IDENTITY), (TIMES[0], "base", "wheel", (0, 0, 0), LEFT))
    frames = build_frames(static + moving, [])
    assert np.allclose(frames.mounting("camera", "lidar")[:3, 3], [0, -1, 0])
    assert np.allclose(frames.mounting("lidar", "base")[:3, 3], [0, 0, 2])
    assert frames.mounting("wheel", "lidar") is None
    assert frames.mounting("lidar", "odom") is None


def test_odometry_stands_where_no_transform_does():
    odometry = [(TYPES.odometry(int(time), (k, 0, 0), IDENTITY), 0) for k, time in enumerate(TIMES)]
    frames = build_frames([], odometry)
    assert frames.pose("base_link", "odom", TIMES)[:, 0, 3].tolist() == [0, 1]
    other = edges((TIMES[0], "map", "base_link", (9, 0, 0), IDENTITY))
    assert build_frames(other, odometry).path("base_link") == ["base_link", "map"]
    unstamped = [(TYPES.odometry(0, (3, 0, 0), IDENTITY), int(TIMES[0]))]
    assert build_frames([], unstamped).edges["base_link"].times_ns.tolist() == [TIMES[0]]


def test_transforms_that_cannot_be_are_dropped():
    found = edges((0, "a", "b", (0, 0, 0), (0, 0, 0, 0)), (0, "a", "b", (np.nan, 0, 0), IDENTITY),
                  (0, "b", "b", (0, 0, 0), IDENTITY), (1, "a", "b", (0, 0, 0), IDENTITY),
                  (2, "a", "b", (0, 0, 0), IDENTITY), (2, "c", "b", (0, 0, 0), IDENTITY))  # fmt: skip
    frames = build_frames(found, [])
    assert frames.dropped == 4
    assert frames.path("b") == ["b", "a"]


def test_circles_end():
    frames = build_frames(edges((0, "a", "b", (0, 0, 0), IDENTITY), (0, "b", "a", (0, 0, 0), IDENTITY)), [])
    assert frames.path("a") == ["a", "b"]
