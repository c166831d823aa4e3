from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import CameraStream, Clip, LidarStream, Sweep, one_lidar_clip
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import decompensate_motion, project_points, uniform_sensor

SENSOR = uniform_sensor(8, 64)


class Ranges:
    """Range images of one range, which says which sweep it is."""

    def __init__(self, first_m: float, shape: tuple[int, int] = SENSOR.shape) -> None:
        self.first_m, self.shape = first_m, shape

    def __call__(self, index: int) -> Sweep:
        return Sweep(range_m=np.full(self.shape, self.first_m + index, np.float32))


def image(index: int) -> np.ndarray:
    return np.zeros((4, 6, 3), np.uint8)


def at(x: float, y: float = 0.0) -> np.ndarray:
    pose = np.eye(4)
    pose[:2, 3] = x, y
    return pose


def stream(name: str, rate_hz: int, first_m: float, mounting: np.ndarray | None) -> LidarStream:
    starts = np.arange(rate_hz) * 1_000_000 // rate_hz
    times = np.stack([starts, starts + 1_000_000 // rate_hz], 1)
    ids = tuple(str(k) for k in range(rate_hz))
    return LidarStream(name, SENSOR, ids, times, Ranges(first_m), ego_SE3_lidar=mounting)


def two_lidars(**camera: np.ndarray) -> Clip:
    lidars = [stream("top", 10, 10.0, at(1.0)), stream("bumper", 20, 40.0, at(3.0, 0.5))]
    front = CameraStream("front", np.arange(30) * 33_333, image, **camera)
    return Clip("c", Path("drive"), "made", {one.name: one for one in lidars}, {"front": front})


def test_the_first_lidar_is_the_main_one():
    clip = two_lidars()
    assert clip.lidar is clip.lidars["top"]
    assert (len(clip), clip.frame_ids[-1], clip.range_map(2)[0, 0]) == (10, "9", 12.0)
    for name in ("sensor", "frame_ids", "timestamps_us", "world_SE3_lidar", "motion_compensated"):
        assert getattr(clip, name) is getattr(clip.lidar, name)
    assert clip.read_sweep is clip.lidar.read
    assert np.array_equal(clip.points(1), clip.lidar.points(1))
    assert [one.rate_hz for one in clip.lidars.values()] == [10.0, 20.0]


def test_another_lidar_can_be_the_main_one():
    clip = two_lidars().choose_lidar("bumper")
    assert list(clip.lidars) == ["bumper", "top"]
    assert (len(clip), clip.range_map(0)[0, 0]) == (20, 40.0)
    assert clip.choose_lidar("bumper") is clip
    with pytest.raises(DataError, match="no lidar 'roof'.*drive.*one of: bumper, top"):
        clip.choose_lidar("roof")


def test_mountings_of_cameras_follow_the_main_lidar():
    clip = two_lidars(lidar_SE3_camera=at(0.5))
    moved = clip.choose_lidar("bumper").cameras["front"].lidar_SE3_camera
    assert np.allclose(moved, at(-1.5, -0.5))
    back = clip.choose_lidar("bumper").choose_lidar("top").cameras["front"].lidar_SE3_camera
    assert np.allclose(back, at(0.5))
    by_vehicle = two_lidars(ego_SE3_camera=at(1.5)).choose_lidar("bumper").cameras["front"]
    assert np.allclose(by_vehicle.lidar_SE3_camera, at(-1.5, -0.5))
    unknown = replace(clip, lidars={**clip.lidars, "bumper": replace(clip.lidars["bumper"], ego_SE3_lidar=None)})
    assert unknown.choose_lidar("bumper").cameras["front"].lidar_SE3_camera is None


def test_fields_of_the_main_lidar_are_replaced():
    clip = two_lidars()
    other = uniform_sensor(4, 16)
    changed = clip.with_lidar(sensor=other, read_sweep=Ranges(1.0, other.shape))
    assert (changed.sensor, changed.range_map(0).shape) == (other, (4, 16))
    assert changed.lidars["bumper"] is clip.lidars["bumper"]
    assert clip.sensor is SENSOR


def test_a_clip_of_cameras_alone():
    clip = replace(two_lidars(), lidars={})
    assert len(clip) == 0
    for name in ("lidar", "sensor", "timestamps_us", "read_sweep", "world_SE3_lidar"):
        with pytest.raises(DataError, match="no lidar in it.*file drive, clip c"):
            getattr(clip, name)


def test_one_lidar_is_one_call():
    clip = one_lidar_clip("c", SENSOR, ("0",), np.array([[0, 100_000]]), Ranges(5.0), Path("x"), "made", notes=("n",))
    assert (list(clip.lidars), clip.lidar.rate_hz, clip.cameras, clip.notes) == (["lidar"], None, {}, ("n",))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Clip("c", SENSOR, ("0",), np.array([[0, 1]]), Ranges(5.0), Path("x"), "made"),
        lambda: Clip("c", sensor=SENSOR, frame_ids=("0",), source=Path("x"), format="made"),
        lambda: replace(two_lidars(), read_sweep=Ranges(1.0)),
    ],
)
def test_the_call_of_before_names_the_one_of_today(make):
    with pytest.raises(TypeError, match=r"one_lidar_clip\(clip_id, sensor.*clip.with_lidar\(sensor=…\)"):
        make()


def test_clips_pickle():
    clip = pickle.loads(pickle.dumps(two_lidars()))
    assert list(clip.lidars) == ["top", "bumper"]
    assert clip.range_map(3)[0, 0] == 13.0


def moving(sweep: Sweep) -> LidarStream:
    poses = np.stack([at(0.0), at(2.0)])[None]
    return LidarStream("top", SENSOR, ("0",), np.array([[0, 100_000]]), lambda _: sweep, poses, True)


def test_the_time_of_points_says_where_the_sensor_was():
    points = np.array([[20, 1, 0], [20, -4, 1], [-9, 3, 0]], np.float32)
    time_us = np.array([0, 50_000, 100_000], np.int32)
    lidar = moving(Sweep(points=points, time_us=time_us))
    seen = points - np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0]], np.float32)
    assert np.array_equal(lidar.range_map(0), project_points(seen, SENSOR).range_m)
    by_azimuth = decompensate_motion(points, SENSOR, at(-2.0))
    assert np.array_equal(moving(Sweep(points=points)).range_map(0), project_points(by_azimuth, SENSOR).range_m)


def test_first_returns_are_projected():
    points = np.array([[5, 0, 0], [9, 0, 0], [0, 7, 0], [0, 3, 0]], np.float32)
    sweep = Sweep(points=points, returns=np.array([2, 1, 1, 2], np.uint8))
    lidar = replace(moving(sweep), world_SE3_lidar=None)
    projection = lidar.project(sweep, 0)
    assert sorted(projection.range_m[projection.range_m > 0].tolist()) == [7.0, 9.0]
    assert set(projection.point_index.ravel().tolist()) == {-1, 1, 2}
    assert np.array_equal(lidar.points(0), points)
    only_second = Sweep(points=points[:1], returns=np.array([2], np.uint8))
    assert (lidar.project(only_second, 0).point_index == -1).all()
