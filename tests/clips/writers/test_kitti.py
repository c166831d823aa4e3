"""Drives come back through the reader ``kitti``: clouds, poses, stamps, images, lenses and places of cameras."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.clips import Sweep, open_clips
from cosmos_lidar.clips.convert import convert_clips
from cosmos_lidar.clips.writers._motion import track_of
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.ftheta import FThetaCamera
from tests.clips.writers.conftest import make_drive


def through(clip, folder, to="kitti"):
    result = convert_clips([clip], folder, to)
    assert result.errors == {}
    return open_clips(folder, sensor=clip.sensor)[0], result.written[clip.clip_id].lost


def moved(pose: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points.astype(np.float64) @ pose[:3, :3].T + pose[:3, 3]


def relative(poses: np.ndarray) -> np.ndarray:
    """Poses whose positions count from that of the first one."""
    moved = poses.copy()
    moved[..., :3, 3] -= poses.reshape(-1, 4, 4)[0, :3, 3]
    return moved


def test_clouds_as_measured_come_back_to_the_bit(drive, tmp_path) -> None:
    back, lost = through(drive, tmp_path)
    assert (back.format, back.clip_id) == ("kitti", "drive_1_drive_0001_extract")
    assert back.motion_compensated is False
    assert np.array_equal(back.timestamps_us, drive.timestamps_us)
    for index in range(3):
        given, read = drive.lidar.cloud(index), back.lidar.read(index)
        assert np.array_equal(read.points, given.points)
        assert np.array_equal(read.intensity, given.intensity)
    assert {"labels", "instance", "time_us", "ring", "sensor", "range_image"} <= set(lost)
    assert not {"points", "intensity", "images", "times", "camera_times", "lens", "camera_mounting"} & set(lost)


def test_poses_come_back_from_navigation_records(drive, tmp_path) -> None:
    far = drive.world_SE3_lidar.copy()
    far[..., :3, 3] += [690_000.0, 5_334_000.0, 520.0]  # a UTM world
    clip = replace(drive.with_lidar(world_SE3_lidar=far), cameras={})
    back, lost = through(clip, tmp_path)
    unit = far[0, 0] @ np.linalg.inv(drive.lidar.ego_SE3_lidar)
    shifted = far.copy()
    shifted[..., :3, 3] -= unit[:3, 3]
    assert np.abs(back.world_SE3_lidar - shifted).max() < 1e-6
    assert lost["poses"].startswith("positions count from the first one, 6")
    record = (tmp_path / "drive_1" / "drive_1_drive_0001_extract" / "oxts" / "data" / "0000000000.txt").read_text()
    assert len(record.split()) == 30
    assert record.split()[:3] == ["0.0", "0.0", "0.0"]


def test_cameras_that_look_elsewhere_keep_images_lens_and_place(drive, tmp_path) -> None:
    back, lost = through(drive, tmp_path)
    assert list(back.cameras) == ["image_02", "image_03"]
    for given, read in zip(drive.cameras.values(), back.cameras.values(), strict=True):
        assert np.array_equal(read.timestamps_us, given.timestamps_us)
        assert all(np.array_equal(read.read(k), given.read(k)) for k in range(len(given)))
        assert read.model == given.model
        assert np.allclose(read.lidar_SE3_camera, given.lidar_SE3_camera, rtol=0, atol=1e-12)
        apart = np.linalg.inv(relative(drive.world_SE3_lidar)[0, 0]) @ drive.world_SE3_lidar[0, 0]
        assert read.world_SE3_camera.shape == given.world_SE3_camera.shape
        assert np.allclose(apart[:3, :3], np.eye(3), atol=1e-12)
    assert "names" in lost


@pytest.mark.parametrize("offset_us", [0, 40_000])
def test_compensated_points_are_of_the_time_in_timestamps(compensated, tmp_path, offset_us) -> None:
    times = compensated.timestamps_us[:, 0] + offset_us
    clip = compensated.with_lidar(reference_us=times, read=compensated.lidar.read)
    back, lost = through(clip, tmp_path)
    assert back.clip_id == "drive_1_drive_0001_sync"
    assert back.motion_compensated
    clocks = (tmp_path / "drive_1" / back.clip_id / "velodyne_points" / "timestamps.txt").read_text().split("\n")
    assert clocks[1] == str(np.datetime64(int(times[1]), "us").astype("datetime64[ns]")).replace("T", " ")
    unit = track_of(clip.lidar).at(times[:1])[0] @ np.linalg.inv(clip.lidar.ego_SE3_lidar)
    for index in range(3):
        given = moved(track_of(clip.lidar).at(times[index]), clip.lidar.read(index).points) - unit[:3, 3]
        read = moved(back.world_SE3_lidar[index, 0], back.lidar.read(index).points)
        assert np.abs(read - given).max() < 2e-5
    shifted = clip.world_SE3_lidar.copy()
    shifted[..., :3, 3] -= unit[:3, 3]
    assert np.abs(back.world_SE3_lidar - shifted).max() < 1e-6
    records = tmp_path / "drive_1" / back.clip_id / "oxts"
    assert (records / "timestamps.txt").read_text().split("\n")[:3] == clocks[:3]
    assert len(list((records / "data").iterdir())) == 3 + (1 if offset_us == 0 else 4)
    assert "reference" not in lost
    assert "poses" not in lost or lost["poses"].startswith("positions")
    assert lost["returns"] == "second returns are points like the first ones"


def test_distortion_is_kept_where_images_are_not_rectified(drive, compensated, tmp_path) -> None:
    front = drive.cameras["camera_front"]
    bent = replace(front, model=replace(front.model, distortion=(0.01, -0.02, 0.001, 0.0, 0.003)))
    back, lost = through(replace(drive, cameras={"camera_front": bent}), tmp_path / "extract")
    assert back.cameras["image_02"].model == bent.model
    assert "lens" not in lost
    back, lost = through(replace(compensated, cameras={"camera_front": bent}), tmp_path / "sync")
    assert back.cameras["image_02"].model == front.model
    assert "distortion" in lost["lens"]


def test_cameras_without_pinhole_lens_or_place_are_left_out_and_named(drive, tmp_path) -> None:
    front, left = drive.cameras.values()
    curved = FThetaCamera.from_vector(np.array([48, 27, 96, 54, 0, 0.01, 0, 0, 0, 0, 1]))
    lost_place = replace(left, lidar_SE3_camera=None, ego_SE3_camera=None, world_SE3_camera=None)
    cameras = {"curved": replace(front, model=curved), "nowhere": lost_place, "camera_front": front}
    back, lost = through(replace(drive, cameras=cameras), tmp_path)
    assert list(back.cameras) == ["image_02"]
    assert "left out" in lost["images"]


def test_a_mounting_comes_from_poses_where_nothing_else_has_it(drive, tmp_path) -> None:
    front = drive.cameras["camera_front"]
    moving = replace(front, lidar_SE3_camera=None, ego_SE3_camera=None)
    back, _ = through(replace(drive, cameras={"camera_front": moving}), tmp_path)
    assert np.allclose(back.cameras["image_02"].lidar_SE3_camera, front.lidar_SE3_camera, rtol=0, atol=1e-5)


def test_a_drive_of_kitti_keeps_its_name_and_day(drive, tmp_path) -> None:
    names = ("2011_09_26_drive_0009_extract", "2011_09_26_drive_0011_extract")
    clips = [replace(drive, clip_id=name) for name in names]
    result = convert_clips(clips, tmp_path, "kitti", workers=2)
    assert result.errors == {}
    assert [clip.clip_id for clip in open_clips(tmp_path)] == list(names)
    assert sorted(path.name for path in (tmp_path / "2011_09_26").iterdir()) == [
        *names, "calib_cam_to_cam.txt", "calib_imu_to_velo.txt", "calib_velo_to_cam.txt",
    ]  # fmt: skip
    other = make_drive(3, cameras=("left",))
    late = replace(other, clip_id="2011_09_26_drive_0015_extract")
    result = convert_clips([*clips, late], tmp_path, "kitti")
    assert list(result.written) == list(names)
    assert "the folder of the day has another calibration" in result.errors[late.clip_id]


def test_without_poses_and_cameras(drive, tmp_path) -> None:
    bare = replace(drive.with_lidar(world_SE3_lidar=None, ego_SE3_lidar=None), cameras={})
    back, _ = through(bare, tmp_path)
    assert (back.world_SE3_lidar, back.cameras) == (None, {})
    assert not (tmp_path / "drive_1" / "drive_1_drive_0001_extract" / "oxts").exists()


def test_what_the_layout_needs_and_the_clip_lacks_is_an_error(drive, tmp_path) -> None:
    def read(index: int) -> Sweep:
        return Sweep(points=drive.lidar.points(index))

    result = convert_clips([drive.with_lidar(read=read)], tmp_path / "a", "kitti")
    assert "no intensity" in result.errors["drive_1"]
    early = drive.with_lidar(timestamps_us=drive.timestamps_us - drive.timestamps_us[0, 0] - 5)
    result = convert_clips([early], tmp_path / "b", "kitti")
    assert "dates from 1970 to 2255" in result.errors["drive_1"]
    result = convert_clips([replace(drive, lidars={})], tmp_path / "c", "kitti")
    assert "no lidar in it" in result.errors["drive_1"]


def test_a_drive_of_the_published_layout_comes_back(tmp_path) -> None:
    from tests.clips.readers.test_kitti import raw

    (given,) = open_clips(raw(tmp_path / "in").parents[1])
    back, lost = through(given, tmp_path / "out")
    assert back.clip_id == given.clip_id
    assert np.array_equal(back.timestamps_us, given.timestamps_us)
    assert np.abs(back.world_SE3_lidar - relative_to_unit(given)).max() < 1e-6
    assert np.abs(back.lidar.read(2).points - given.lidar.read(2).points).max() < 1e-5
    assert back.cameras["image_02"].model == given.cameras["image_02"].model
    assert "frame_ids" in lost  # frame 2 of 5 is missing there


def relative_to_unit(clip) -> np.ndarray:
    """Poses whose positions count from that of the navigation unit, here the lidar, at the first reference."""
    start = clip.world_SE3_lidar[0, 0, :3, 3]
    poses = clip.world_SE3_lidar.copy()
    poses[..., :3, 3] -= start
    return poses


def test_real_frames_with_a_camera(test_data, tmp_path) -> None:
    given = open_clips(test_data / "kitti_object")
    result = convert_clips(given, tmp_path, "kitti")
    assert result.errors == {}
    back = open_clips(tmp_path)
    assert len(back) == len(given) == 2
    for one, two in zip(given, back, strict=True):
        assert np.array_equal(two.lidar.read(0).points, one.lidar.read(0).points)
        assert np.array_equal(two.cameras["image_02"].read(0), one.cameras["image_2"].read(0))
        assert two.cameras["image_02"].model == one.cameras["image_2"].model
        assert np.allclose(two.cameras["image_02"].lidar_SE3_camera, one.cameras["image_2"].lidar_SE3_camera)


def test_real_surround_cameras(test_data, tmp_path) -> None:
    (given,) = open_clips(test_data / "nuscenes")
    back, _ = through(given, tmp_path)
    assert len(back.cameras) == len(given.cameras) == 6
    for one, two in zip(given.cameras.values(), back.cameras.values(), strict=True):
        assert np.allclose(two.lidar_SE3_camera, one.lidar_SE3_camera, rtol=0, atol=1e-6)
        assert np.array_equal(two.read(0), one.read(0))


def test_a_damaged_image_names_its_file(drive, tmp_path) -> None:
    def image(index: int):
        raise DataError("not a readable image", file="there.png")

    front = replace(drive.cameras["camera_front"], read=image)
    result = convert_clips([replace(drive, cameras={"camera_front": front})], tmp_path, "kitti")
    assert "there.png" in result.errors["drive_1"]
    assert not (tmp_path / "drive_1" / "drive_1_drive_0001_extract").exists()
