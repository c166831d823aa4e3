"""``cosmos-lidar inspect``: what is shown of recordings, as text and as JSON, and its exit status."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cosmos_lidar.cli import main
from cosmos_lidar.clips.writers.release import write_release
from cosmos_lidar.sensors.pinhole import PinholeCamera
from tests.clips.conftest import make_clip

__all__ = ["make_clip"]


def lens_of_the_pictures(clip):
    camera = next(iter(clip.cameras.values()))
    return {camera.name: replace(camera, model=PinholeCamera(50, 50, 31.5, 23.5, 64, 48))}


@pytest.fixture
def good(make_clip):
    clip = make_clip(frames=6)
    return replace(clip, cameras=lens_of_the_pictures(clip))


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
