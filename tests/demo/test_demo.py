"""The one command: how recordings are divided, and the whole path on synthetic and on real sweeps."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.cli import main
from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.cut import cut_clip
from cosmos_lidar.demo import recordings
from cosmos_lidar.demo.recordings import real_recordings, small_pictures
from cosmos_lidar.sensors import load_sensor, sensor_names, uniform_sensor
from cosmos_lidar.synth import synthesize_drive


@pytest.fixture
def drive():
    return synthesize_drive(1, uniform_sensor(8, 64), 10)


def test_a_cut_is_the_same_sweeps(drive):
    part = cut_clip(drive, 3, 6)
    assert len(part) == 3
    assert part.clip_id != drive.clip_id
    np.testing.assert_array_equal(part.range_map(2), drive.range_map(5))
    np.testing.assert_array_equal(part.timestamps_us, drive.timestamps_us[3:6])
    np.testing.assert_array_equal(part.world_SE3_lidar, drive.world_SE3_lidar[3:6])


def test_held_out_sweeps_are_never_trained_on(drive):
    several = [replace(drive, clip_id=f"d{i}") for i in range(5)]
    train, held_out = recordings._divide(several)
    assert [clip.clip_id for clip in train + held_out] == ["d0", "d1", "d2", "d3", "d4"]
    assert len(held_out) == 1
    (train,), (held_out,) = recordings._divide([drive])
    assert (len(train), len(held_out)) == (8, 2)
    assert train.timestamps_us.max() <= held_out.timestamps_us.min()
    assert recordings._divide([cut_clip(drive, 0, 1)])[0] == []


@pytest.mark.parametrize("name", sensor_names())
def test_pictures_of_every_sensor_become_small(name):
    sensor = small_pictures(load_sensor(name))
    rows, columns = sensor.rows * sensor.format.repeat_rows, sensor.columns / sensor.format.pair_columns
    assert rows == 128
    assert columns == int(columns) <= 600


def test_a_single_real_sweep_is_held_out(test_data: Path):
    found = real_recordings(test_data / "nuscenes", "nuscenes")
    assert len(found.held_out) == 1
    assert all(clip.format == "synth" for clip in found.train)
    assert "topped up" in found.remark


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--drives", "1"], "at least 2"), (["--format", "kitti"], "--data is missing"),
     (["--data", "nowhere"], "nowhere"), (["--data", ".", "--format", "rosbag"], "rosbag")],
)
def test_wrong_options_say_so(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--out", "out", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "report.html").exists()


def check_demo(out: Path) -> None:
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "trained tokenizer" in page
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["trained tokenizer"]["pooled"]["frames"] > 0
    assert metrics["protocol"]["hash"] in page
    assert list((out / "autoencode" / "point_cloud").glob("*.mp4"))
    assert list((out / "run").rglob("iter_*_dec.jit"))


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "format"), [("kitti_velodyne", "kitti"), ("nuscenes", "nuscenes")])
def test_real_recordings(test_data: Path, tmp_path, folder, format):
    command = ["demo", "--out", str(tmp_path), "--data", str(test_data / folder), "--format", format, "--steps", "4"]
    assert main(command) == 0
    check_demo(tmp_path)


@pytest.mark.slow
def test_synthetic_drives_and_a_second_call(tmp_path):
    assert main(["demo", "--out", str(tmp_path), "--drives", "2", "--steps", "4"]) == 0
    check_demo(tmp_path)
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "drives").rglob("*.tar")}
    assert len(open_clips(tmp_path / "drives")) == 2
    assert main(["demo", "--out", str(tmp_path), "--drives", "2", "--steps", "8"]) == 0
    assert made == {path: path.stat().st_mtime_ns for path in (tmp_path / "drives").rglob("*.tar")}
    assert list((tmp_path / "run").rglob("iter_000000008_dec.jit"))
