"""Sequences come back through the reader ``semantickitti``: clouds, labels, poses, stamps, images, cameras."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.clips import Sweep, open_clips
from cosmos_lidar.clips.convert import convert_clips
from cosmos_lidar.clips.writers._motion import track_of


def through(clip, folder):
    result = convert_clips([clip], folder, "semantickitti")
    assert result.errors == {}
    return open_clips(folder, sensor=clip.sensor)[0], result.written[clip.clip_id].lost


def moved(pose: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points.astype(np.float64) @ pose[:3, :3].T + pose[:3, 3]


def test_labels_halves_and_values(drive, tmp_path) -> None:
    back, lost = through(drive, tmp_path)
    assert (back.format, back.clip_id) == ("semantickitti", "drive_1")
    for index in range(3):
        given, read = drive.lidar.cloud(index), back.lidar.read(index)
        for value in ("intensity", "labels", "instance"):
            assert np.array_equal(getattr(read, value), getattr(given, value)), value
        file = tmp_path / "sequences" / "drive_1" / "labels" / f"{index:06d}.label"
        raw = np.fromfile(file, "<u4")
        assert np.array_equal(raw & 0xFFFF, given.labels)
        assert np.array_equal(raw >> 16, given.instance)
    assert not {"labels", "instance", "intensity", "times", "images", "lens"} & set(lost)


def test_points_lie_in_the_axes_of_mid_sweep_and_come_back_as_measured(drive, tmp_path) -> None:
    back, lost = through(drive, tmp_path)
    assert lost["reference"] == "points are moved to the middle of their sweep"
    assert np.abs(back.timestamps_us - drive.timestamps_us).max() <= 1
    assert np.abs(back.world_SE3_lidar - drive.world_SE3_lidar).max() < 5e-3
    track = track_of(drive.lidar)
    for index in range(3):
        seen = drive.lidar.cloud(index)
        file = tmp_path / "sequences" / "drive_1" / "velodyne" / f"{index:06d}.bin"
        points = np.fromfile(file, "<f4").reshape(-1, 4)[:, :3]
        start, middle = drive.timestamps_us[index, 0], drive.timestamps_us[index].sum() // 2
        moments = track.at(start + seen.time_us.astype(np.int64))
        world = np.einsum("nij,nj->ni", moments[:, :3, :3], seen.points.astype(float)) + moments[:, :3, 3]
        assert np.abs(moved(track.at(np.array(middle)), points) - world).max() < 2e-4
        as_seen = back.lidar.motion(index).as_seen(back.lidar.read(index).points, seen.time_us)
        assert np.abs(as_seen - seen.points).max() < 5e-3  # poses within sweeps are straight lines of N poses
        assert (np.abs(back.range_map(index) - drive.range_map(index)) < 0.05).mean() > 0.98


@pytest.mark.parametrize("middle", [False, True])
def test_compensated_points_are_moved_as_one(compensated, tmp_path, middle) -> None:
    times = compensated.timestamps_us.sum(1) // 2 if middle else None
    clip = compensated.with_lidar(reference_us=times)
    back, lost = through(clip, tmp_path)
    assert ("reference" in lost) is not middle
    track = track_of(clip.lidar)
    for index in range(3):
        reference = clip.timestamps_us[index, 0] if times is None else times[index]
        given = moved(track.at(np.array(reference)), clip.lidar.read(index).points)
        read = moved(back.world_SE3_lidar[index, 0], back.lidar.read(index).points)
        assert np.abs(read - given).max() < 1e-4
    assert lost["returns"] == "second returns are points like the first ones"


def test_cameras_have_one_image_per_sweep(drive, tmp_path) -> None:
    front, left = drive.cameras.values()
    twice = np.sort(np.concatenate([front.timestamps_us, front.timestamps_us + 50_000]))
    fast = replace(front, name="fast", timestamps_us=twice, read=lambda k: front.read(k // 2), world_SE3_camera=None)
    back, lost = through(replace(drive, cameras={"fast": fast, "camera_left": left}), tmp_path)
    assert list(back.cameras) == ["image_2", "image_3"]
    assert lost["images"] == f"3 of {len(fast)} images of fast: one per sweep"
    middle = drive.timestamps_us.sum(1) // 2
    for k in range(3):
        nearest = int(np.argmin(np.abs(twice - middle[k])))
        assert np.array_equal(back.cameras["image_2"].read(k), fast.read(nearest))
        assert np.array_equal(back.cameras["image_3"].read(k), left.read(k))
    assert np.array_equal(back.cameras["image_2"].timestamps_us, middle)
    for given, read in zip((front, left), back.cameras.values(), strict=True):
        assert np.allclose(read.lidar_SE3_camera, given.lidar_SE3_camera, rtol=0, atol=1e-9)
        focal = [getattr(read.model, name) / getattr(given.model, name) for name in ("fx", "fy")]
        assert np.allclose(focal, 1, rtol=0, atol=1e-12)


def test_stamps_that_the_middles_do_not_give_are_noted(drive, tmp_path) -> None:
    times = drive.timestamps_us + np.array([[0, 0], [0, -20_000], [0, 0]])
    _, lost = through(drive.with_lidar(timestamps_us=times), tmp_path)
    assert lost["times"].endswith("off by up to 20000 us") or lost["times"].endswith("off by up to 10000 us")


def test_large_instances_sweeps_without_labels_and_clips_without_poses(drive, tmp_path) -> None:
    def read(index: int) -> Sweep:
        cloud = drive.lidar.cloud(index)
        if index == 1:
            return replace(cloud, labels=None, instance=None)
        return replace(cloud, instance=cloud.instance + np.uint32(70_000))

    bare = replace(drive.with_lidar(read=read, world_SE3_lidar=None), cameras={})
    back, lost = through(bare, tmp_path)
    assert lost["instance"] == "numbers above 65535 keep their lower 16 bits"
    assert back.lidar.read(1).labels is None
    assert np.array_equal(back.lidar.read(0).instance, (read(0).instance & 0xFFFF))
    assert np.array_equal(back.lidar.read(0).points, drive.lidar.cloud(0).points)
    assert back.world_SE3_lidar is None
    assert "without poses" in lost["reference"]


def test_a_sequence_without_any_label_is_opened_as_kitti(drive, tmp_path) -> None:
    def read(index: int) -> Sweep:
        return replace(drive.lidar.cloud(index), labels=None, instance=None)

    back, _ = through(drive.with_lidar(read=read), tmp_path)
    assert back.format == "kitti"
    named = open_clips(tmp_path, format="semantickitti")[0]
    assert named.world_SE3_lidar is not None


def test_intensity_is_needed(drive, tmp_path) -> None:
    def read(index: int) -> Sweep:
        return replace(drive.lidar.cloud(index), intensity=None)

    result = convert_clips([drive.with_lidar(read=read)], tmp_path, "semantickitti")
    assert "no intensity" in result.errors["drive_1"]
    assert list((tmp_path / "sequences").iterdir()) == []


def test_a_real_scan_keeps_every_byte(test_data, tmp_path) -> None:
    given = open_clips(test_data / "semantickitti")
    result = convert_clips(given, tmp_path, "semantickitti")
    assert result.errors == {}
    for kind in ("velodyne/000000.bin", "labels/000000.label"):
        source = test_data / "semantickitti" / "dataset" / "sequences" / "08" / kind
        assert (tmp_path / "sequences" / "08" / kind).read_bytes() == source.read_bytes()


def test_a_published_sequence_comes_back(tmp_path) -> None:
    from tests.clips.readers.test_kitti import odometry

    odometry(tmp_path / "in")
    (given,) = open_clips(tmp_path / "in")
    back, lost = through(given, tmp_path / "out")
    assert np.array_equal(back.timestamps_us, given.timestamps_us)
    assert np.abs(back.world_SE3_lidar - given.world_SE3_lidar).max() < 1e-9
    assert np.abs(back.lidar.read(1).points - given.lidar.read(1).points).max() < 1e-5
    camera, original = back.cameras["image_2"], given.cameras["image_2"]
    assert camera.model == original.model
    assert np.abs(camera.lidar_SE3_camera - original.lidar_SE3_camera).max() < 1e-9
    assert np.array_equal(camera.read(2), original.read(2))
    assert not {"poses", "times", "images", "camera_times", "camera_poses"} & set(lost)
