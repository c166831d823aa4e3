"""The multi-view guide's folder: names and content of every file of its Waymo converter."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.cli import main
from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.convert import convert_clips
from cosmos_lidar.clips.multiview_folder import find_multiview_folder
from cosmos_lidar.clips.poses import interpolate_poses
from cosmos_lidar.clips.video import VideoFile
from cosmos_lidar.clips.writers._contract import WriteOptions
from cosmos_lidar.clips.writers._motion import track_of
from cosmos_lidar.sensors.ftheta import FThetaCamera


def through(clip, folder: Path, caption: str = "") -> dict[str, str]:
    result = convert_clips([clip], folder, "multiview", WriteOptions(caption=caption))
    assert result.errors == {}
    return result.written[clip.clip_id].lost


def members(file: Path) -> dict[str, bytes]:
    with tarfile.open(file) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def arrays(file: Path) -> dict[str, np.ndarray]:
    content = members(file).items()
    return {name.split(".", 1)[1]: np.load(io.BytesIO(data), allow_pickle=False) for name, data in content}


def test_the_files_are_those_of_the_guide(drive, tmp_path) -> None:
    through(drive, tmp_path, "A quiet street.")
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert found - {"convert-clips.jsonl", "report.json", ".lock"} >= {
        "videos/pinhole_front/drive_1.mp4", "videos/pinhole_left/drive_1.mp4", "metas/pinhole_front/drive_1.txt",
        "metas/pinhole_left/drive_1.txt", "videos/pinhole_intrinsic/drive_1.tar", "videos/pose/drive_1.tar",
        "videos/vehicle_pose/drive_1.tar", "videos/timestamp/drive_1.tar", "videos/lidar_raw/drive_1.tar",
        "videos/all_object_info/drive_1.tar", "videos/3d_lanelines/drive_1.tar",
    }  # fmt: skip
    assert len([name for name in found if "/" in name]) == 11
    assert (tmp_path / "metas" / "pinhole_left" / "drive_1.txt").read_text() == "A quiet street."


def test_videos_have_all_frames_at_10_hz(drive, tmp_path) -> None:
    through(drive, tmp_path)
    assert not (tmp_path / "metas").exists()
    for name, camera in drive.cameras.items():
        video = VideoFile(tmp_path / "videos" / name.replace("camera", "pinhole") / "drive_1.mp4")
        assert len(video) == 3
        assert np.allclose(np.diff(video.times_s()), 0.1, atol=1e-4)
        for index in range(3):
            apart = video(index).astype(int) - camera.read(index).astype(int)
            assert np.abs(apart).mean() < 6


def test_the_reader_of_the_guides_folder_opens_it(drive, tmp_path) -> None:
    through(drive, tmp_path, "A quiet street.")
    (back,) = open_clips(tmp_path)
    assert (back.format, back.clip_id) == ("multiview", "drive_1")
    assert list(back.cameras) == ["pinhole_front", "pinhole_left"]
    for given, read in zip(drive.cameras.values(), back.cameras.values(), strict=True):
        assert np.array_equal(read.timestamps_us, given.timestamps_us)
        assert np.array_equal(read.world_SE3_camera, given.world_SE3_camera)
        assert read.model == given.model
        for index in range(3):
            assert np.abs(read.read(index).astype(int) - given.read(index)).mean() < 6
    folder = find_multiview_folder(tmp_path)
    assert folder.caption("pinhole_front", "drive_1").read_text() == "A quiet street."


def test_numbers_count_at_30_hz_and_poses_stand_at_all_of_them(drive, tmp_path) -> None:
    lost = through(drive, tmp_path)
    poses, vehicle = (arrays(tmp_path / "videos" / name / "drive_1.tar") for name in ("pose", "vehicle_pose"))
    assert sorted(vehicle) == [f"{key:06d}.vehicle_pose.npy" for key in range(9)]
    assert sorted(poses) == sorted(f"{key:06d}.pose.{name}.npy" for key in range(9) for name in ("front", "left"))
    camera = drive.cameras["camera_left"]
    for frame in range(3):
        assert np.array_equal(poses[f"{3 * frame:06d}.pose.left.npy"], camera.world_SE3_camera[frame])
    between = interpolate_poses(camera.world_SE3_camera, np.array([0, 3, 6]), np.array([4]))[0]
    assert np.allclose(poses["000004.pose.left.npy"], between, rtol=0, atol=1e-12)
    step = poses["000006.pose.left.npy"] - poses["000005.pose.left.npy"]
    for number in (1, 2):  # straight on after the last frame
        beyond = poses[f"{6 + number:06d}.pose.left.npy"]
        assert np.allclose(beyond[:3, :3], poses["000006.pose.left.npy"][:3, :3], rtol=0, atol=1e-12)
        assert np.allclose(beyond[:3, 3], poses["000006.pose.left.npy"][:3, 3] + number * step[:3, 3], atol=1e-9)
    ego = track_of(drive.lidar).at(camera.timestamps_us) @ np.linalg.inv(drive.lidar.ego_SE3_lidar)
    assert np.allclose(vehicle["000003.vehicle_pose.npy"], ego[1], rtol=0, atol=1e-12)
    assert "camera_poses" not in lost


def test_lenses_timestamps_and_order_of_members(drive, tmp_path) -> None:
    through(drive, tmp_path)
    lenses = arrays(tmp_path / "videos" / "pinhole_intrinsic" / "drive_1.tar")
    model = drive.cameras["camera_front"].model
    expected = [model.fx, model.fy, model.cx, model.cy, 96, 54]
    assert lenses["pinhole_intrinsic.front.npy"].tolist() == expected
    times = members(tmp_path / "videos" / "timestamp" / "drive_1.tar")
    assert times == {
        f"drive_1.{3 * k:06d}.timestamp_micros.txt": str(start).encode()
        for k, start in enumerate(drive.timestamps_us[:, 0].tolist())
    }
    for file in (tmp_path / "videos").rglob("*.tar"):
        assert list(members(file)) == sorted(members(file)), file


def test_tars_are_samples_of_webdataset(drive, tmp_path) -> None:
    webdataset = pytest.importorskip("webdataset")
    through(drive, tmp_path)
    file = str(tmp_path / "videos" / "pose" / "drive_1.tar")
    (sample,) = list(webdataset.WebDataset(file, shardshuffle=False).decode())
    assert sample["__key__"] == "drive_1"
    pose = drive.cameras["camera_front"].world_SE3_camera[2]
    assert np.array_equal(sample["000006.pose.front.npy"], pose)


@pytest.mark.parametrize("mounted", [True, False])
def test_points_lie_in_axes_of_the_vehicle_at_the_start_of_the_sweep(drive, compensated, tmp_path, mounted) -> None:
    for name, clip in (("seen", drive), ("compensated", compensated)):
        given = clip if mounted else clip.with_lidar(ego_SE3_lidar=None)
        lost = through(given, tmp_path / name)
        raw = members(tmp_path / name / "videos" / "lidar_raw" / "drive_1.tar")
        with np.load(io.BytesIO(raw["drive_1.000003.lidar_raw.npz"]), allow_pickle=False) as found:
            xyz, pose = found["xyz"], found["lidar_to_world"]
            assert int(found["starting_timestamp"]) == drive.timestamps_us[1, 0]
            assert np.array_equal(found["intensity"], clip.lidar.cloud(1).intensity)
        assert ("points" in lost) is not mounted
        start = drive.world_SE3_lidar[1, 0]
        expected = start @ np.linalg.inv(drive.lidar.ego_SE3_lidar) if mounted else start
        assert np.allclose(pose, expected, rtol=0, atol=1e-9)
        still = compensated.lidar.read(1).points[: len(xyz)]
        world = still @ start[:3, :3].T + start[:3, 3]
        assert np.abs(xyz @ pose[:3, :3].T + pose[:3, 3] - world).max() < 1e-3


def test_frames_whose_images_are_late_are_noted(drive, tmp_path) -> None:
    front, left = drive.cameras.values()
    late = replace(left, timestamps_us=left.timestamps_us + 12_345)
    lost = through(replace(drive, cameras={"front": front, "left": late}), tmp_path / "late")
    assert lost["camera_times"] == "images have the time of their frame: off by up to 12345 us"
    assert "camera_times" not in through(drive, tmp_path / "same")


def test_cameras_of_other_rates_and_clocks_follow_the_front_one(drive, tmp_path) -> None:
    front, left = drive.cameras.values()
    fast = np.arange(9) * 33_333 + front.timestamps_us[0]
    quick = replace(left, timestamps_us=fast, read=lambda k: left.read(k // 3), world_SE3_camera=None)
    lost = through(replace(drive, cameras={"LEFT": quick, "FRONT": front}), tmp_path)
    assert sorted(path.name for path in (tmp_path / "videos").glob("pinhole_*")) == [
        "pinhole_front", "pinhole_intrinsic", "pinhole_left",
    ]  # fmt: skip
    assert len(VideoFile(tmp_path / "videos" / "pinhole_left" / "drive_1.mp4")) == 3
    assert lost["images"] == "camera_left: 3 of 9 images, one per frame"
    slow = replace(front, timestamps_us=front.timestamps_us[[0, 2]], read=lambda k: front.read(2 * k))
    slow = replace(slow, world_SE3_camera=front.world_SE3_camera[[0, 2]])
    lost = through(replace(drive, cameras={"front": slow}), tmp_path / "slow")
    assert lost["points"] == "2 of 3 sweeps: one per frame"
    assert sorted(members(tmp_path / "slow" / "videos" / "lidar_raw" / "drive_1.tar")) == [
        "drive_1.000000.lidar_raw.npz", "drive_1.000006.lidar_raw.npz",
    ]  # fmt: skip


def test_cameras_alone_fisheyes_and_clips_without_poses(drive, tmp_path) -> None:
    front = drive.cameras["camera_front"]
    curved = FThetaCamera.from_vector(np.array([48, 27, 96, 54, 0, 0.01, 0, 0, 0, 0, 1]))
    clip = replace(drive, lidars={}, cameras={"camera_front": replace(front, model=curved)})
    result = convert_clips([clip], tmp_path / "a", "multiview")
    assert result.written["drive_1"].frames == 3
    assert (tmp_path / "a" / "videos" / "ftheta_front" / "drive_1.mp4").is_file()
    assert "ftheta_intrinsic.front.npy" in arrays(tmp_path / "a" / "videos" / "ftheta_intrinsic" / "drive_1.tar")
    assert not (tmp_path / "a" / "videos" / "lidar_raw").exists()
    bare = replace(front, world_SE3_camera=None)
    lost = through(replace(drive.with_lidar(world_SE3_lidar=None), cameras={"front": bare}), tmp_path / "b")
    assert lost["points"] == "lidar_raw needs poses of the lidar"
    assert "camera_poses" in lost
    result = convert_clips([replace(drive, cameras={})], tmp_path / "c", "multiview")
    assert "no image in it" in result.errors["drive_1"]


def test_waymo_gives_the_names_of_the_guide(tmp_path) -> None:
    from tests.clips.readers.test_waymo import write_sample

    source = write_sample(tmp_path / "in")
    clips = open_clips(source)
    line = ["convert-clips", str(source), str(tmp_path / "out"), "--to", "multiview", "--caption", "A road."]
    assert main(line) == 0
    for clip in clips:
        for name in clip.cameras:
            assert (tmp_path / "out" / "videos" / f"pinhole_{name.lower()}" / f"{clip.clip_id}.mp4").is_file()
            caption = tmp_path / "out" / "metas" / f"pinhole_{name.lower()}" / f"{clip.clip_id}.txt"
            assert caption.read_text() == "A road."


def test_real_cameras_of_one_moment(test_data, tmp_path) -> None:
    (given,) = open_clips(test_data / "ddad_dgp")
    lost = through(given, tmp_path)
    for name, camera in given.cameras.items():
        video = VideoFile(next((tmp_path / "videos").glob(f"*_{name.lower().removeprefix('camera_')}/*.mp4")))
        assert len(video) == len(camera) == 3
        poses = arrays(tmp_path / "videos" / "pose" / f"{given.clip_id}.tar")
        key = f"000003.pose.{name.lower().removeprefix('camera_')}.npy"
        assert np.allclose(poses[key], camera.world_SE3_camera[1])
    assert "images" not in lost
    assert lost["camera_times"].startswith("images have the time of their frame: off by up to ")
