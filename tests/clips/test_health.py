from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.clips import Sweep
from cosmos_lidar.clips.health import check_clip
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.pinhole import PinholeCamera


def lens_of_the_pictures(clip):
    camera = next(iter(clip.cameras.values()))
    return {camera.name: replace(camera, model=PinholeCamera(50, 50, 31.5, 23.5, 64, 48))}


@pytest.fixture
def good(make_clip):
    clip = make_clip(frames=6)
    return replace(clip, cameras=lens_of_the_pictures(clip))


def test_a_good_clip(good):
    health = check_clip(good)
    assert health.problems == ()
    assert (health.frames, health.duration_s, health.rate_hz) == (6, 0.6, 10.0)
    assert health.cameras == {"camera_front_wide_120fov": 18}
    assert health.labels
    assert health.poses
    assert health.statistics.sweeps == 3
    assert 0.75 < health.statistics.valid_share < 0.85
    low, middle, high = health.statistics.range_quantiles_m
    assert 1 < low < 5 < 40 < middle < 60 < 95 < high < 100
    assert health.statistics.dropped_share is None
    json.dumps(health.to_dict())


def test_nothing_is_read_when_nothing_is_wanted(good):
    def refuse(index: int) -> Sweep:
        raise AssertionError("read")

    health = check_clip(good.with_lidar(read=refuse), sweeps=0)
    assert health.statistics is None
    assert health.problems == ()


def test_points_outside_the_sensor(good):
    points = np.array([[10, 0, 0], [20, 0, 0], [0, 0, 10], [0, 0, 20], [0, 1, 20]], np.float32)
    health = check_clip(good.with_lidar(read=lambda index: Sweep(points=points)))
    assert health.statistics.dropped_share == pytest.approx(0.6)
    assert health.statistics.hidden_share == pytest.approx(0.2)
    assert [p for p in health.problems if "60% of the points lie outside the field of view of uniform" in p]


def test_sweeps_that_cannot_be_read_or_are_empty(good):
    def read(index: int) -> Sweep:
        raise DataError("broken", file="somewhere.bin", clip="a_drive")

    health = check_clip(good.with_lidar(read=read))
    assert health.problems == ("broken [file somewhere.bin, clip a_drive]",) * 3
    empty = Sweep(range_m=np.zeros(good.sensor.shape, np.float32))
    assert check_clip(good.with_lidar(read=lambda index: empty)).problems == ("no return in any of the sweeps read",)


def test_poses_and_times_of_other_lengths(good):
    health = check_clip(good.with_lidar(world_SE3_lidar=good.world_SE3_lidar[:5]))
    assert health.problems == ("5 poses for 6 frames",)


def test_cameras(good):
    (camera,) = good.cameras.values()
    poses = camera.world_SE3_camera.copy()
    poses[4, 0, 0] = 5.0
    stamps = camera.timestamps_us.copy()
    stamps[7] = 0
    wrong = replace(
        camera, world_SE3_camera=poses, timestamps_us=stamps, model=PinholeCamera(50, 50, 31.5, 23.5, 640, 480)
    )
    name = camera.name
    assert check_clip(replace(good, cameras={name: wrong})).problems == (
        f"{name}: the pose of image 4 is no rigid motion",
        f"{name}: timestamps do not increase after image 6",
        f"{name}: images are 64 x 48, the calibration is for 640 x 480",
    )


def test_sweeps_that_are_empty_or_cover_a_part_of_the_turn(good):
    maps = [np.full(good.sensor.shape, 20.0 + k, np.float32) for k in range(6)]
    maps[1][:] = 0.0
    maps[3][:, good.sensor.columns // 2 :] = 0.0
    health = check_clip(good.with_lidar(read=lambda index: Sweep(range_m=maps[index])), sweeps=6)
    half, whole = good.sensor.columns - good.sensor.columns // 2 - good.sensor.columns % 2, good.sensor.columns
    cut_off = f"sweep 3: {half} columns have a return, of most sweeps {whole}: cut off?"
    assert health.problems == ("sweep 1: no return", cut_off)
