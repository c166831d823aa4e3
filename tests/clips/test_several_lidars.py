"""Recordings with several lidars from end to end: written, inspected, looked at, prepared."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.cli import main
from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.health import check_clip
from cosmos_lidar.clips.sweep import Sweep, sweep_problems
from cosmos_lidar.clips.writers.release import write_release
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.shards.clips import open_shards
from cosmos_lidar.synth import RigLidar, bumper_lidar, pinhole_rig, synthesize_drive

ROOF, BUMPER = uniform_sensor(16, 128, name="roof16"), uniform_sensor(8, 96, 10, -20, name="bumper8")


def drive(seed: int = 3, frames: int = 3):
    fast = RigLidar("bumper", replace(BUMPER, spin_hz=20.0), bumper_lidar(BUMPER).vehicle_SE3_lidar)
    return synthesize_drive(seed, ROOF, frames, cameras=pinhole_rig(("front",), 96, 54), lidars=[fast])


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    root = tmp_path_factory.mktemp("several")
    for seed in (3, 4):
        write_release(root, drive(seed))
    return root


def test_both_lidars_come_back_with_all_they_measured(recorded):
    written = drive()
    back = {clip.clip_id: clip for clip in open_clips(recorded)}[written.clip_id]
    assert list(back.lidars) == ["lidar", "bumper"]
    for name, lidar in written.lidars.items():
        other = back.lidars[name]
        assert np.array_equal(other.timestamps_us, lidar.timestamps_us)
        assert np.array_equal(other.world_SE3_lidar, lidar.world_SE3_lidar)
        assert np.array_equal(other.ego_SE3_lidar, lidar.ego_SE3_lidar)
        assert (other.sensor.fingerprint(), len(other)) == (lidar.sensor.fingerprint(), len(lidar))
        given, read = lidar.read(1), other.read(1)
        seen = given.range_m > 0
        assert np.array_equal(read.range_m > 0, seen)
        for values in ("labels", "instance", "time_us"):
            assert np.array_equal(getattr(read, values)[seen], getattr(given, values)[seen])
        assert sweep_problems(read, other.sensor) == []


def test_only_the_time_that_is_asked_for_is_written(tmp_path):
    write_release(tmp_path, drive(), max_frames=1)
    (clip,) = open_clips(tmp_path)
    assert {name: len(lidar) for name, lidar in clip.lidars.items()} == {"lidar": 1, "bumper": 2}


def test_a_folder_of_one_lidar_is_a_recording_of_its_own(recorded):
    clips = open_clips(recorded / "lidars" / "bumper")
    assert [clip.sensor.name for clip in clips] == ["bumper8", "bumper8"]


def test_the_lidar_that_is_asked_for_is_the_main_one(recorded):
    clip = open_clips(recorded, lidar="bumper")[0]
    assert (clip.lidar.name, clip.sensor.name, len(clip)) == ("bumper", "bumper8", 6)
    other = uniform_sensor(8, 96, 12, -22, name="other")
    assert open_clips(recorded, lidar="bumper", sensor=other)[0].sensor is other
    assert open_clips(recorded, lidar="bumper", sensor=other)[0].lidars["lidar"].sensor.name == "roof16"
    with pytest.raises(DataError, match="no lidar 'side'.*one of: lidar, bumper"):
        open_clips(recorded, lidar="side")


def test_inspect_shows_every_lidar(recorded, capsys):
    assert main(["inspect", str(recorded)]) == 0
    shown = capsys.readouterr().out
    for part in ("roof16 16x128", "bumper8 8x96", "20.0", "range_m intensity labels instance time_us", "2 clips"):
        assert part in shown
    assert main(["inspect", str(recorded), "--json", "--lidar", "bumper"]) == 0
    (first, _) = json.loads(capsys.readouterr().out)["clips"]
    assert [one["name"] for one in first["lidars"]] == ["bumper"]
    assert (first["sensor"], first["frames"], first["rate_hz"]) == ("bumper8", 6, 20.0)
    assert first["lidars"][0]["statistics"]["returns_per_sweep"] > 100


def test_what_is_wrong_with_a_lidar_names_it():
    clip = drive()
    bumper = clip.lidars["bumper"]
    broken = replace(bumper, read=lambda index: Sweep(range_m=np.ones((2, 2), np.float32)))
    wrong = check_clip(replace(clip, lidars={**clip.lidars, "bumper": broken}), sweeps=1)
    assert wrong.problems == ("bumper: sweep 0: range_m: float32 (2, 2), expected float32 (8, 96)",)
    assert wrong.lidars[1].statistics is None


def test_a_recording_of_cameras_alone_is_shown(tmp_path):
    from cosmos_lidar.viz.recording import write_recording_report

    clip = replace(drive(), lidars={})
    health = check_clip(clip)
    assert (health.problems, health.frames, health.sensor, health.lidars) == ((), 0, None, ())
    assert health.cameras == {"camera_front": 3}
    page = write_recording_report(tmp_path / "a.html", "Footage", [clip]).read_text(encoding="utf-8")
    assert [f"image {i}" in page for i in range(4)] == [True, True, True, False]


def test_view_shows_the_chosen_lidar(recorded, tmp_path):
    page = tmp_path / "view.html"
    assert main(["view", str(recorded), "--html", str(page), "--lidar", "bumper", "--frames", "1"]) == 0
    text = page.read_text(encoding="utf-8")
    assert "bumper8, 8 × 96" in text
    assert "lidar (roof16, 3 in 0.3 s)" in text


def test_prepare_writes_the_chosen_lidar(recorded, tmp_path):
    out = tmp_path / "shards"
    options = ["--split", "0.5,0.5,0", "--lidar", "bumper"]
    assert main(["prepare", str(recorded), str(out), *options]) == 0
    clips = open_shards(out)
    assert {(clip.sensor.name, len(clip)) for clip in clips} == {("bumper8", 6)}
    (source,) = (one for one in open_clips(recorded, lidar="bumper") if one.clip_id == clips[0].clip_id)
    assert np.allclose(clips[0].range_map(2), source.range_map(2), atol=0.002)


def test_prepare_refuses_a_recording_without_a_lidar():
    from cosmos_lidar.shards.plan import PrepareOptions, make_plan

    with pytest.raises(DataError, match="no lidar in it"):
        make_plan([replace(drive(), lidars={})], PrepareOptions(split=(1.0,)))
