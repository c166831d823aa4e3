"""Bags of every storage, written through rosbags and read back exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.checks._listing import find_checks
from cosmos_lidar.clips.health import check_clip
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.pinhole import PinholeCamera
from tests.clips.readers.test_contract import COMPARING

pytest.importorskip("rosbags")

from tests.clips.point_formats.encoders import table
from tests.clips.readers.rosbag.bags import (
    CAMERA_IN_BASE,
    IDENTITY,
    KINDS,
    LIDAR,
    LIDAR_IN_BASE,
    OPTICAL,
    START_NS,
    STEP_NS,
    SWEEPS,
    Types,
    drive,
    pixels,
    write_bag,
    write_drive,
)

START_US = START_NS // 1000


def write_sample(root: Path) -> Path:
    """A bag of ROS 2 with a lidar, a camera and transforms."""
    return write_drive(root / "drive")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("big", [False, True], ids=["little", "big"])
def test_clouds_images_and_poses_of_every_storage(kind, big, tmp_path):
    (clip,) = open_clips(write_drive(tmp_path / "drive", kind, big=big, little=not big))
    assert (clip.clip_id, clip.format, list(clip.lidars), list(clip.cameras)) == (
        "drive", "rosbag", ["lidar_points"], ["cam_image_raw"])  # fmt: skip
    assert (clip.timestamps_us[:, 0] - START_US).tolist() == [0, 100_000, 200_000]
    assert (clip.timestamps_us[:, 1] - clip.timestamps_us[:, 0]).tolist() == [100_000] * SWEEPS
    for index in (2, 0, 1):
        sweep, cloud = clip.read_sweep(index), table(seed=index)
        assert np.array_equal(sweep.points, np.stack([cloud[axis] for axis in "xyz"], 1))
        assert np.array_equal(sweep.intensity, cloud["intensity"])
        assert np.array_equal(sweep.ring, cloud["ring"])
        assert np.array_equal(sweep.time_us, cloud["t"])
        assert np.array_equal(clip.cameras["cam_image_raw"].read(index), pixels(index))
    assert np.allclose(clip.world_SE3_lidar[:, :, 0, 3], [[0, 0.5], [0.5, 1.0], [1.0, 1.5]], atol=1e-6)
    assert np.allclose(clip.world_SE3_lidar[:, :, 2, 3], LIDAR_IN_BASE[2])
    assert any("poses of odom < base_link < lidar" in note for note in clip.notes)
    checks = [name for name in find_checks() if name not in COMPARING]
    assert check_clip(clip, checks=checks).problems == ()


def test_cameras_have_lens_and_mounting(tmp_path):
    (clip,) = open_clips(write_sample(tmp_path))
    camera = clip.cameras["cam_image_raw"]
    assert (camera.timestamps_us - START_US).tolist() == [50_000, 150_000, 250_000]
    assert (camera.model.fx, camera.model.fy, camera.model.width, camera.model.height) == (50, 60, 32, 24)
    assert np.allclose(camera.ego_SE3_camera[:3, 3], CAMERA_IN_BASE)
    assert np.allclose(camera.lidar_SE3_camera[:3, 3], np.subtract(CAMERA_IN_BASE, LIDAR_IN_BASE))
    assert np.allclose(camera.lidar_SE3_camera[:3, 2], [1, 0, 0], atol=1e-9)  # it looks forward
    assert np.allclose(camera.world_SE3_camera[:, 0, 3], [1.25, 1.75, 2.25])


def test_folders_files_and_folders_of_bags(tmp_path):
    one, two = write_drive(tmp_path / "one"), write_drive(tmp_path / "two", "sqlite3")
    assert [clip.clip_id for clip in open_clips(tmp_path)] == ["one", "two"]
    for path in (one / "one.mcap", one / "metadata.yaml", two / "two.db3"):
        (clip,) = open_clips(path)
        assert len(clip) == SWEEPS
    write_drive(tmp_path / "old" / "c", "ros1")
    write_drive(tmp_path / "old" / "d", "ros1")
    assert [clip.clip_id for clip in open_clips(tmp_path / "old")] == ["c", "d"]


def test_files_of_a_split_bag_are_one_clip_in_the_order_of_their_numbers(tmp_path):
    types = Types(False)
    records = drive(types)
    for number, part in ((2, records[:4]), (10, records[4:])):
        write_bag(tmp_path / f"run_{number}", part, types)
        (tmp_path / "split").mkdir(exist_ok=True)
        (tmp_path / f"run_{number}" / f"run_{number}.mcap").rename(tmp_path / "split" / f"run_{number}.mcap")
    (clip,) = open_clips(tmp_path / "split")
    assert (clip.clip_id, len(clip)) == ("split", SWEEPS)
    assert clip.world_SE3_lidar is not None
    assert np.array_equal(clip.read_sweep(2).points[:, 2], table(seed=2)["z"])


def test_headers_without_a_stamp_have_the_times_of_the_recording(tmp_path):
    types = Types(False)
    records = [
        (LIDAR, "sensor_msgs/msg/PointCloud2", START_NS + k * STEP_NS, types.cloud(0, table(seed=k))) for k in (0, 1)
    ]
    (clip,) = open_clips(write_bag(tmp_path / "bag", records, types))
    assert (clip.timestamps_us[:, 0] - START_US).tolist() == [0, 100_000]
    assert f"{LIDAR}: times of the recording, headers have none" in clip.notes
    assert any("no poses" in note for note in clip.notes)


def test_the_lidar_with_the_most_points_is_the_main_one_and_doubles_are_left_out(tmp_path):
    types = Types(True)
    records = [("/a", "sensor_msgs/msg/PointCloud2", START_NS, types.cloud(START_NS, table(50)))]
    records += [("/b", "sensor_msgs/msg/PointCloud2", START_NS + k, types.cloud(START_NS, table(60))) for k in (0, 1)]
    (clip,) = open_clips(write_bag(tmp_path / "bag", records, types, "ros1"))
    assert list(clip.lidars) == ["b", "a"]
    assert len(clip) == 1
    assert "/b: 1 messages of the time of another one" in clip.notes


def test_odometry_gives_poses_where_no_transform_does(tmp_path):
    types = Types(False)
    records = [one for one in drive(types) if not one[0].startswith("/tf")]
    static = types.transforms((0, "base_link", "lidar", LIDAR_IN_BASE, IDENTITY))
    records.append(("/tf_static", "tf2_msgs/msg/TFMessage", START_NS, static))
    for time_ns, x in ((START_NS - STEP_NS, -0.5), (START_NS + 5 * STEP_NS, 2.5)):
        odometry = types.odometry(time_ns, (x, 1, 0), IDENTITY)
        records.append(("/odom", "nav_msgs/msg/Odometry", time_ns, odometry))
    (clip,) = open_clips(write_bag(tmp_path / "bag", records, types))
    assert np.allclose(clip.world_SE3_lidar[1, 0, :3, 3], [0.5, 1, LIDAR_IN_BASE[2]])
    assert clip.cameras["cam_image_raw"].world_SE3_camera is None


def test_transforms_of_another_time_give_no_poses(tmp_path):
    types = Types(False)
    records = [one for one in drive(types) if one[0] != "/tf"]
    late = types.transforms((START_NS + 90 * STEP_NS, "odom", "base_link", (0, 0, 0), OPTICAL))
    records.append(("/tf", "tf2_msgs/msg/TFMessage", START_NS, late))
    (clip,) = open_clips(write_bag(tmp_path / "bag", records, types))
    assert clip.world_SE3_lidar is None
    assert any("of another time" in note for note in clip.notes)


def test_images_that_are_not_read_are_noted(tmp_path):
    types = Types(False)
    records = drive(types)
    depth = types.image(START_NS, np.zeros((4, 5), np.float32), "32FC1")
    records.append(("/depth/image", "sensor_msgs/msg/Image", START_NS, depth))
    (clip,) = open_clips(write_bag(tmp_path / "bag", records, types))
    assert "/depth/image: images of encoding '32FC1' are not read" in clip.notes
    assert list(clip.cameras) == ["cam_image_raw"]


def test_lenses_with_distortion_or_without_calibration(tmp_path):
    types = Types(True)
    records = [one for one in drive(types) if "camera_info" not in one[0]]
    info = types.camera_info(START_NS, 32, 24, (-0.2, 0.03, 0.001, -0.002, 0.0))
    bent = [*records, ("/cam/camera_info", "sensor_msgs/msg/CameraInfo", START_NS, info)]
    (clip,) = open_clips(write_bag(tmp_path / "bent", bent, types, "ros1"))
    assert clip.cameras["cam_image_raw"].model == PinholeCamera(
        50, 60, 16, 12, 32, 24, (-0.2, 0.03, 0.001, -0.002, 0.0)
    )
    assert not any("lens" in note for note in clip.notes)
    info.distortion_model = "equidistant"
    fisheye = [*records, ("/cam/camera_info", "sensor_msgs/msg/CameraInfo", START_NS, info)]
    (clip,) = open_clips(write_bag(tmp_path / "fisheye", fisheye, types, "ros1"))
    assert clip.cameras["cam_image_raw"].model is None
    assert any("'equidistant' with 5 coefficients is not modeled (/cam/camera_info)" in note for note in clip.notes)
    (clip,) = open_clips(write_bag(tmp_path / "none", records, types, "ros1"))
    assert any("no calibration, /cam/camera_info is not there" in note for note in clip.notes)
    assert clip.cameras["cam_image_raw"].model is None


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_files_are_refused(kind, tmp_path):
    path = write_drive(tmp_path / "drive", kind)
    file = path if path.is_file() else next(one for one in path.iterdir() if one.suffix in (".mcap", ".db3"))
    content = file.read_bytes()
    for length in (0, 7, 60, len(content) // 3, len(content) - 40):
        file.write_bytes(content[:length])
        with pytest.raises(DataError, match=file.name):
            read_all(path)


def read_all(path: Path) -> None:
    for clip in open_clips(path):
        for index in range(SWEEPS):
            clip.read_sweep(index)


@pytest.mark.parametrize("name", ["talker", "talker_sqlite", "split", "cdr_test"])
def test_published_bags_without_sensors_are_refused_with_their_topics(test_data, name):
    topic = {"split": r"/chatter \(std_msgs/msg/String\)", "cdr_test": r"/test_topic \(test_msgs/msg/BasicTypes\)"}
    wanted = topic.get(name, r"/topic \(std_msgs/msg/String\)")
    with pytest.raises(DataError, match=f"{wanted}.*clip {name}.*PointCloud2"):
        open_clips(test_data / "rosbag2" / name)


def test_an_unknown_serialization_is_refused(test_data):
    for path in ("wrong_rmw", "wrong_rmw/wrong_rmw_test_0.mcap"):
        with pytest.raises(DataError, match=r"serialized as 'wrong_format' .*key /(array|test)_topic"):
            open_clips(test_data / "rosbag2" / path)
