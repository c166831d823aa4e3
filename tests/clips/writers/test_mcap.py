"""Bags come back through the reader ``rosbag``, and are what the library of ROS bags takes for one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rosbags")

from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from cosmos_lidar.clips import Sweep, open_clips
from cosmos_lidar.clips.convert import convert_clips
from cosmos_lidar.clips.files import ImageFiles
from cosmos_lidar.clips.trajectory import Trajectory
from cosmos_lidar.clips.writers._motion import cloud_as_seen
from cosmos_lidar.sensors.ftheta import FThetaCamera

VALUES = ("points", "intensity", "labels", "instance", "time_us", "ring")


def through(clip, folder):
    result = convert_clips([clip], folder, "mcap")
    assert result.errors == {}
    return open_clips(folder, sensor=clip.sensor)[0], result.written[clip.clip_id].lost


def messages(folder, topic: str) -> list:
    store = get_typestore(Stores.ROS2_HUMBLE)
    with Reader(folder) as bag:
        chosen = [one for one in bag.connections if one.topic == topic]
        return [store.deserialize_cdr(raw, one.msgtype) for one, _, raw in bag.messages(connections=chosen)]


def test_clouds_with_all_values_come_back_to_the_bit(drive, tmp_path) -> None:
    back, lost = through(drive, tmp_path)
    assert (back.format, back.clip_id, list(back.lidars)) == ("rosbag", "drive_1", ["lidar_points"])
    assert np.array_equal(back.timestamps_us, drive.timestamps_us)
    for index in range(3):
        given, read = drive.lidar.cloud(index), back.lidar.read(index)
        for value in VALUES:
            assert getattr(read, value).dtype == getattr(given, value).dtype
            assert np.array_equal(getattr(read, value), getattr(given, value)), value
    assert {"sensor", "frame_ids", "names", "range_image"} <= set(lost)
    assert not {*VALUES, "poses", "times", "mounting", "images", "lens", "camera_poses", "camera_mounting"} & set(lost)


def test_poses_and_mountings_come_back(drive, tmp_path) -> None:
    far = drive.world_SE3_lidar.copy()
    far[..., :3, 3] += [690_000.0, 5_334_000.0, 520.0]
    back, _ = through(replace(drive.with_lidar(world_SE3_lidar=far), cameras={}), tmp_path)
    assert np.abs(back.world_SE3_lidar - far).max() < 1e-8
    assert np.allclose(back.lidar.ego_SE3_lidar, drive.lidar.ego_SE3_lidar, rtol=0, atol=1e-12)


def test_cameras_come_back(drive, tmp_path) -> None:
    bent = (0.01, -0.02, 0.001, 0.0, 0.003)
    front, left = drive.cameras.values()
    front = replace(front, model=replace(front.model, distortion=bent))
    back, _ = through(replace(drive, cameras={"camera_front": front, "camera_left": left}), tmp_path)
    assert list(back.cameras) == ["camera_front_image_raw_compressed", "camera_left_image_raw_compressed"]
    for given, read in zip((front, left), back.cameras.values(), strict=True):
        assert np.array_equal(read.timestamps_us, given.timestamps_us)
        assert read.model == given.model
        assert np.allclose(read.lidar_SE3_camera, given.lidar_SE3_camera, rtol=0, atol=1e-9)
        assert np.abs(read.world_SE3_camera - given.world_SE3_camera).max() < 1e-6
        for index in range(3):
            apart = np.abs(read.read(index).astype(int) - given.read(index))
            assert apart.mean() < 2


def test_second_returns_and_compensated_points_as_measured(compensated, tmp_path) -> None:
    back, lost = through(compensated, tmp_path)
    assert lost["reference"] == "points are moved back to where the lidar saw them"
    for index in range(3):
        given = compensated.lidar.read(index)
        seen = cloud_as_seen(compensated.lidar, index, given)
        read = back.lidar.read(index)
        assert np.array_equal(read.points, seen.points)
        assert np.array_equal(read.returns, given.returns)
        assert np.array_equal(read.time_us, given.time_us)
        assert np.array_equal(back.range_map(index), compensated.range_map(index))
    bare = replace(compensated.with_lidar(world_SE3_lidar=None), cameras={})
    back, lost = through(bare, tmp_path / "bare")
    assert "stay where they are" in lost["reference"]
    assert np.array_equal(back.lidar.read(0).points, compensated.lidar.read(0).points)
    assert back.world_SE3_lidar is None


def test_two_lidars_at_their_own_rates(two_lidars, tmp_path) -> None:
    back, lost = through(two_lidars, tmp_path)
    assert "lidars" not in lost
    given = two_lidars.lidars.values()
    assert len(back.lidars) == 2
    for one, two in zip(given, back.lidars.values(), strict=True):
        assert two.name == f"{one.name}_points"
        assert np.array_equal(two.timestamps_us[:, 0], one.timestamps_us[:, 0])
        assert np.array_equal(two.read(1).points, one.cloud(1).points)
        assert np.allclose(two.ego_SE3_lidar, one.ego_SE3_lidar, rtol=0, atol=1e-12)
        assert np.abs(two.world_SE3_lidar[:, 0] - one.world_SE3_lidar[:, 0]).max() < 5e-3


def test_without_a_mounting_the_lidar_hangs_on_the_world(drive, tmp_path) -> None:
    front = drive.cameras["camera_front"]
    given = replace(drive.with_lidar(ego_SE3_lidar=None), cameras={"f": replace(front, ego_SE3_camera=None)})
    back, _ = through(given, tmp_path)
    assert back.lidar.ego_SE3_lidar is None
    assert np.abs(back.world_SE3_lidar - drive.world_SE3_lidar).max() < 1e-9
    (camera,) = back.cameras.values()
    assert np.allclose(camera.lidar_SE3_camera, front.lidar_SE3_camera, rtol=0, atol=1e-9)
    parents = {one.header.frame_id for message in messages(tmp_path / "drive_1", "/tf") for one in message.transforms}
    assert parents == {"map"}


def test_cameras_that_move_by_themselves_have_their_own_transforms(drive, tmp_path) -> None:
    front = drive.cameras["camera_front"]
    poses = front.world_SE3_camera.copy()
    poses[:, 2, 3] += [0, 3, 9]
    drone = replace(front, name="drone", world_SE3_camera=poses, lidar_SE3_camera=None, ego_SE3_camera=None)
    back, _ = through(replace(drive, cameras={"drone": drone}), tmp_path)
    (camera,) = back.cameras.values()
    assert np.abs(camera.world_SE3_camera - poses).max() < 1e-9
    assert camera.lidar_SE3_camera is None


def test_the_trajectory_within_sweeps_is_in_the_transforms(drive, tmp_path) -> None:
    times = np.arange(drive.timestamps_us[0, 0], drive.timestamps_us[-1, 1] + 1, 10_000)
    moving = Trajectory(Trajectory(drive.world_SE3_lidar[:, 0], drive.timestamps_us[:, 0]).at(times), times)
    _, lost = through(replace(drive.with_lidar(trajectory=moving), cameras={}), tmp_path)
    assert "trajectory" not in lost
    assert len(messages(tmp_path / "drive_1", "/tf")) == len(times)


def test_the_library_reads_topics_types_and_order(drive, tmp_path) -> None:
    through(drive, tmp_path)
    with Reader(tmp_path / "drive_1") as bag:
        assert {(one.topic, one.msgtype) for one in bag.connections} == {
            ("/lidar/points", "sensor_msgs/msg/PointCloud2"), ("/tf", "tf2_msgs/msg/TFMessage"),
            ("/tf_static", "tf2_msgs/msg/TFMessage"),
            *((f"/camera_{one}/image_raw/compressed", "sensor_msgs/msg/CompressedImage") for one in ("front", "left")),
            *((f"/camera_{one}/camera_info", "sensor_msgs/msg/CameraInfo") for one in ("front", "left")),
        }  # fmt: skip
        static = next(one for one in bag.connections if one.topic == "/tf_static")
        assert static.ext.offered_qos_profiles[0].durability.name == "TRANSIENT_LOCAL"
        stamps = [time for _, time, _ in bag.messages()]
        assert stamps == sorted(stamps)
        assert stamps[0] == 1000 * int(drive.timestamps_us[0, 0])
    fields = [one.name for one in messages(tmp_path / "drive_1", "/lidar/points")[0].fields]
    assert fields == ["x", "y", "z", "intensity", "ring", "time", "label", "instance"]
    assert sorted(path.name for path in (tmp_path / "drive_1").iterdir()) == ["drive_1.mcap", "metadata.yaml"]


def test_jpeg_files_of_the_recording_are_taken_as_they_are(test_data, tmp_path) -> None:
    (given,) = open_clips(test_data / "nuscenes")
    through(given, tmp_path)
    for name, camera in given.cameras.items():
        assert isinstance(camera.read, ImageFiles)
        (message,) = messages(tmp_path / given.clip_id, f"/{name}/image_raw/compressed")
        assert message.data.tobytes() == camera.read.files[0].read_bytes()
    (cloud,) = messages(tmp_path / given.clip_id, "/LIDAR_TOP/points")
    assert cloud.width == len(given.lidar.read(0).points)


def test_real_sweeps_with_times_and_rings(test_data, tmp_path) -> None:
    given = open_clips(test_data / "ouster")[0]
    back, _ = through(given, tmp_path)
    for index in range(len(given)):
        one, two = given.lidar.cloud(index), back.lidar.read(index)
        for value in ("points", "intensity", "ring", "time_us"):
            assert np.array_equal(getattr(two, value), getattr(one, value)), value


def test_names_of_sensors_become_names_of_topics(drive, tmp_path) -> None:
    front, left = drive.cameras.values()
    cameras = {"a": replace(front, name="0 front!"), "b": replace(left, name="map")}
    result = convert_clips([replace(drive, cameras=cameras)], tmp_path, "mcap")
    assert result.errors == {}
    with Reader(tmp_path / "drive_1") as bag:
        topics = {one.topic for one in bag.connections}
    assert {"/sensor_0_front_/camera_info", "/sensor_map/camera_info"} <= topics


def test_what_readers_cannot_know_is_noted(drive, tmp_path) -> None:
    def read(index: int) -> Sweep:
        cloud = drive.lidar.cloud(index)
        if index == 1:
            return Sweep(points=cloud.points[:0], intensity=cloud.intensity[:0])
        return replace(cloud, time_us=cloud.time_us // 100)

    curved = FThetaCamera.from_vector(np.array([48, 27, 96, 54, 0, 0.01, 0, 0, 0, 0, 1]))
    fisheye = replace(drive.cameras["camera_front"], model=curved)
    times = drive.timestamps_us - np.array([[0, 20_000], [0, 0], [0, 0]])
    clip = replace(drive.with_lidar(read=read, timestamps_us=times), cameras={"fisheye": fisheye})
    _, lost = through(clip, tmp_path)
    assert "0 points" in lost["points"]
    assert "less than 3.2 ms" in lost["time_us"]
    assert lost["lens"].startswith("fisheye and others")
    assert "off by up to 20000 us" in lost["times"]


def test_stamps_that_ros_cannot_have_and_empty_clips_are_refused(drive, tmp_path) -> None:
    late = drive.with_lidar(timestamps_us=drive.timestamps_us + 10**15)
    result = convert_clips([late], tmp_path / "late", "mcap")
    assert "stamps of ROS 2, from 1970 to 2038" in result.errors["drive_1"]
    result = convert_clips([replace(drive, lidars={}, cameras={})], tmp_path / "none", "mcap")
    assert "neither sweep nor image" in result.errors["drive_1"]
    assert [path.name for path in (tmp_path / "none").iterdir() if path.is_dir()] == []


def test_cameras_alone(drive, tmp_path) -> None:
    result = convert_clips([replace(drive, lidars={})], tmp_path, "mcap")
    assert result.written["drive_1"].frames == 3
    (back,) = open_clips(tmp_path)
    assert back.lidars == {}
    front = back.cameras["camera_front_image_raw_compressed"]
    assert np.abs(front.world_SE3_camera - drive.cameras["camera_front"].world_SE3_camera).max() < 1e-9
