from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.cli import main
from cosmos_lidar.clips import Sweep
from cosmos_lidar.clips.health import check_clip
from cosmos_lidar.clips.writers.release import write_release
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


def test_inspect_command(good, tmp_path, capsys):
    write_release(tmp_path, good)
    assert main(["inspect", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    for part in (
        "a_drive",
        "release",
        "uniform 16x90",
        "camera_front_wide_120fov (18)",
        "1 clips, 6 frames, no clips with problems",
    ):
        assert part in shown


def test_inspect_finds_problems(good, tmp_path, capsys):
    write_release(tmp_path, good)
    times = good.timestamps_us.copy()
    times[4:] += 900_000
    write_release(tmp_path, replace(good.with_lidar(timestamps_us=times), clip_id="gap", cameras={}))
    write_release(tmp_path, replace(good, clip_id="cut", cameras={}))
    tar = tmp_path / "lidar" / "cut.tar"
    tar.write_bytes(tar.read_bytes()[:3000])
    assert main(["inspect", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert "PROBLEM gap: 1 gaps in time, the longest 1.000 s after sweep 3" in shown
    assert "NOT OPENED: " in shown
    assert "lidar/cut.tar, clip cut" in shown
    assert "2 clips, 12 frames, 2 clips with problems" in shown
    assert main(["inspect", str(tmp_path), "--json", "--fast"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [one["clip_id"] for one in document["clips"]] == ["a_drive", "gap"]
    assert document["clips"][0]["statistics"] is None
    assert len(document["not_opened"]) == 1


def test_inspect_of_something_else(tmp_path, capsys):
    assert main(["inspect", str(tmp_path)]) == 2
    assert "not recognized as a dataset" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("folder", "clips"), [("kitti_velodyne", 1), ("kitti_object", 2), ("semantickitti", 1), ("nuscenes", 1)]
)
def test_inspect_of_real_recordings(test_data, folder, clips, capsys):
    assert main(["inspect", str(test_data / folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["clips"]
    assert len(found) == clips
    for one in found:
        assert one["problems"] == []
        assert one["statistics"]["valid_share"] > 0.5
        assert one["statistics"]["dropped_share"] < 0.1


def test_sweeps_that_are_empty_or_cover_a_part_of_the_turn(good):
    maps = [np.full(good.sensor.shape, 20.0 + k, np.float32) for k in range(6)]
    maps[1][:] = 0.0
    maps[3][:, good.sensor.columns // 2 :] = 0.0
    health = check_clip(good.with_lidar(read=lambda index: Sweep(range_m=maps[index])), sweeps=6)
    half, whole = good.sensor.columns - good.sensor.columns // 2 - good.sensor.columns % 2, good.sensor.columns
    cut_off = f"sweep 3: {half} columns have a return, of most sweeps {whole}: cut off?"
    assert health.problems == ("sweep 1: no return", cut_off)


def test_inspect_runs_the_chosen_checks_and_shows_warnings(good, tmp_path, capsys):
    write_release(tmp_path, good.with_lidar(timestamps_us=good.timestamps_us * 10))
    assert main(["inspect", str(tmp_path), "--checks", "times,images"]) == 0
    shown = capsys.readouterr().out
    text = "warning a_drive: camera_front_wide_120fov: image 0 has one color: gray levels deviate by 0.00"
    assert f"{text} [images.blank, file {tmp_path}" in shown
    assert "camera_front_wide_120fov/a_drive.mp4, frame 0]" in shown
    assert main(["inspect", str(tmp_path), "--checks", "clock", "--json"]) == 1
    (clip,) = json.loads(capsys.readouterr().out)["clips"]
    assert clip["problems"] == [one["text"] for one in clip["findings"]]
    found = clip["findings"][0]
    assert (found["kind"], found["clip"], found["lidar"]) == ("clock.step", "a_drive", "lidar")
    assert found["evidence"]["ratio"] == 10.0
    assert main(["inspect", str(tmp_path), "--checks", "clocks"]) == 2
    assert "unknown check 'clocks', did you mean 'clock'? Valid: " in capsys.readouterr().err
