"""Folders of clouds come back equal through the reader ``folder``."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.clips import Sweep, open_clips
from cosmos_lidar.clips.convert import convert_clips
from cosmos_lidar.clips.trajectory import Trajectory
from cosmos_lidar.clips.writers._contract import WriteOptions
from tests.clips.writers.same import assert_same_track, differing

FORMATS = ("npz", "pcd", "ply")


def through(clip, to, folder):
    result = convert_clips([clip], folder, to)
    assert result.errors == {}
    return open_clips(folder)[0], result.written[clip.clip_id].lost


@pytest.mark.parametrize("to", FORMATS)
def test_range_images_come_back_as_their_points(drive, tmp_path, to) -> None:
    back, lost = through(drive, to, tmp_path)
    assert back.format == "folder"
    assert_same_track(drive, back)
    for index in range(3):
        assert differing(drive.lidar.cloud(index), back.lidar.cloud(index)) == []
        assert np.abs(back.range_map(index) - drive.range_map(index)).max() < 2e-5
    assert set(lost) == {"range_image", "images", "lens", "camera_times", "camera_poses", "camera_mounting"} | {
        "boxes", "lane_lines"
    }  # fmt: skip


@pytest.mark.parametrize("to", FORMATS)
def test_compensated_points_and_second_returns_come_back(compensated, tmp_path, to) -> None:
    late = compensated.with_lidar(reference_us=compensated.timestamps_us.mean(1).astype(np.int64))
    for number, clip in enumerate((compensated, late)):
        back, lost = through(clip, to, tmp_path / str(number))
        assert_same_track(clip, back)
        assert all(differing(clip.lidar.read(index), back.lidar.read(index)) == [] for index in range(3))
        assert back.lidar.motion(1).reference_us == clip.lidar.motion(1).reference_us
        assert {"points", "returns", "reference", "time_us"}.isdisjoint(lost)


def test_sweeps_that_overlap_and_pause_keep_times_and_poses(drive, tmp_path) -> None:
    times = drive.timestamps_us + np.array([[0, 30_000], [0, -50_000], [0, 1]])
    back, _ = through(drive.with_lidar(timestamps_us=times), "ply", tmp_path)
    assert np.array_equal(back.timestamps_us, times)
    assert np.allclose(back.world_SE3_lidar, drive.world_SE3_lidar, rtol=0, atol=1e-9)


def test_poses_far_from_the_origin(drive, tmp_path) -> None:
    far = drive.world_SE3_lidar.copy()
    far[..., :3, 3] += [4_500_000.0, -620_000.0, 200.0]
    back, _ = through(drive.with_lidar(world_SE3_lidar=far), "pcd", tmp_path)
    assert np.abs(back.world_SE3_lidar - far).max() < 1e-8


def test_without_poses_labels_and_mounting(drive, tmp_path) -> None:
    def read(index: int) -> Sweep:
        return Sweep(points=drive.lidar.points(index))

    bare = drive.with_lidar(read=read, world_SE3_lidar=None, ego_SE3_lidar=None)
    back, lost = through(replace(bare, cameras={}, boxes=None, lane_lines=None), "ply", tmp_path)
    assert lost == {}
    assert (back.world_SE3_lidar, back.lidar.ego_SE3_lidar) == (None, None)
    assert back.lidar.read(1).held == ("points",)


def test_frame_names_that_are_no_names_of_files_become_numbers(drive, tmp_path) -> None:
    names = {
        "slash": ("a/1", "a/2", "a/3"),
        "order": ("9", "8", "7"),
        "twice": ("1", "1", "2"),
        "dot": (".1", "2", "3"),
    }
    for name, frames in names.items():
        back, lost = through(drive.with_lidar(frame_ids=frames), "npz", tmp_path / name)
        assert back.frame_ids == ("000000", "000001", "000002"), name
        assert lost["frame_ids"] == "replaced by numbers"
    back, lost = through(drive.with_lidar(frame_ids=("a9", "a10", "b_1")), "npz", tmp_path / "good")
    assert back.frame_ids == ("a9", "a10", "b_1")
    assert "frame_ids" not in lost


def test_further_lidars_and_poses_within_sweeps_are_named(two_lidars, tmp_path) -> None:
    moving = Trajectory(two_lidars.world_SE3_lidar[:, 0], two_lidars.timestamps_us[:, 0])
    _, lost = through(two_lidars.with_lidar(trajectory=moving), "ply", tmp_path)
    assert {"lidars", "trajectory"} <= set(lost)


def test_sweeps_without_a_return_are_named(drive, tmp_path) -> None:
    def read(index: int) -> Sweep:
        sweep = drive.lidar.read(index)
        return Sweep(range_m=np.zeros_like(sweep.range_m)) if index == 1 else sweep

    _, lost = through(drive.with_lidar(read=read), "pcd", tmp_path)
    assert "0 points" in lost["points"]


def test_facts_beside_the_clouds(drive, tmp_path) -> None:
    through(drive, "ply", tmp_path)
    facts = json.loads((tmp_path / "drive_1" / "lidar.json").read_text())
    assert facts["motion_compensated"] is False
    assert np.array_equal(facts["ego_SE3_lidar"], drive.lidar.ego_SE3_lidar)
    assert (tmp_path / "drive_1" / "timestamps.csv").read_text().splitlines()[0] == "timestamp_us,end_us"


def test_options_are_taken(drive, tmp_path) -> None:
    assert convert_clips([drive], tmp_path, "ply", WriteOptions(caption="unused")).errors == {}
