"""The synth command, from the command line to the dataset that reads back."""

import numpy as np
import pytest

from cosmos_lidar.cli import main
from cosmos_lidar.clips import open_clips
from cosmos_lidar.sensors.sensor import load_sensor, uniform_sensor
from cosmos_lidar.synth import ftheta_rig, synthesize_drive


@pytest.fixture
def sensor_file(tmp_path):
    file = tmp_path / "tiny.yaml"
    file.write_text(uniform_sensor(16, 240, 8, -24, name="tiny").to_yaml())
    return file


def synth(out, sensor_file, *more):
    return main(["synth", str(out), "--sensor", str(sensor_file), "--frames", "3", "--seed", "7", *more])


def test_dataset_reads_back(tmp_path, sensor_file, capsys):
    out = tmp_path / "set"
    assert synth(out, sensor_file, "--drives", "2", "--cameras", "front,right", "--width", "128", "--exact") == 0
    assert f"2 drives written to {out}" in capsys.readouterr().out
    clips = {clip.clip_id: clip for clip in open_clips(out)}
    sensor = load_sensor(str(sensor_file))
    made = synthesize_drive(8, sensor, 3, noise=None, cameras=ftheta_rig(("front", "right"), 128))
    read = clips[made.clip_id]
    assert len(clips) == 2
    assert read.sensor.shape == (16, 240)
    assert read.frame_ids == made.frame_ids
    assert np.array_equal(read.timestamps_us, made.timestamps_us)
    assert np.array_equal(read.world_SE3_lidar, made.world_SE3_lidar)
    for index in (0, 2):
        a, b = made.read_sweep(index), read.read_sweep(index)
        assert np.abs(a.range_m - b.range_m).max() <= 0.032  # half a step of float16 beyond 64 m
        assert np.array_equal(a.labels, b.labels)
        assert np.abs(a.intensity - b.intensity).max() < 1e-3
    for name, stream in made.cameras.items():
        assert np.allclose(read.cameras[name].world_SE3_camera, stream.world_SE3_camera)
        assert read.cameras[name].model.to_vector() == pytest.approx(stream.model.to_vector())
        difference = read.cameras[name].read(1).astype(int) - stream.read(1)
        assert np.abs(difference).mean() < 8  # H.264 in between


def test_a_second_lidar_is_written_beside_the_first(tmp_path, sensor_file, capsys):
    out = tmp_path / "set"
    assert synth(out, sensor_file, "--drives", "1") == 0
    assert synth(out, sensor_file, "--drives", "1", "--second-lidar", "nuscenes_hdl32e") == 0
    assert "1 drives written" in capsys.readouterr().out.splitlines()[-1]  # the one lidar alone was not all of it
    assert synth(out, sensor_file, "--drives", "1", "--second-lidar", "nuscenes_hdl32e") == 0
    assert "0 drives written" in capsys.readouterr().out.splitlines()[-1]
    (clip,) = open_clips(out)
    assert {name: (one.sensor.name, len(one)) for name, one in clip.lidars.items()} == {
        "lidar": ("tiny", 3), "bumper": ("nuscenes_hdl32e", 6)
    }  # fmt: skip
    bumper = clip.choose_lidar("bumper")
    assert 0.2 < (bumper.range_map(5) > 0).mean() < 1


def test_goes_on_where_it_stopped(tmp_path, sensor_file, capsys):
    out = tmp_path / "set"
    assert synth(out, sensor_file, "--drives", "2") == 0
    before = {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in out.rglob("*") if file.is_file()}
    lost = sorted((out / "metadata").iterdir())[0]
    lost.unlink()
    assert synth(out, sensor_file, "--drives", "3", "--jobs", "2") == 0
    assert "2 drives written" in capsys.readouterr().out.splitlines()[-1]
    after = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    assert after[lost] == before[lost][1]
    kept = [file for file in before if lost.stem not in file.name]
    assert all(file.stat().st_mtime_ns == before[file][0] for file in kept)
    assert {file: after[file] for file in before} == {file: text for file, (_, text) in before.items()}
    assert len(open_clips(out)) == 3
    assert synth(out, sensor_file, "--drives", "3") == 0
    assert "0 drives written" in capsys.readouterr().out


def test_other_options_are_not_taken_for_the_same(tmp_path, sensor_file, capsys):
    out = tmp_path / "set"
    for more, words in (
        ((), "1 drives written"), (("--cameras", "front", "--width", "96"), "1 drives written"),
        (("--cameras", "front", "--width", "128"), "1 drives written"),
        (("--cameras", "front", "--width", "128"), "0 drives written"), ((), "0 drives written"),
    ):  # fmt: skip
        assert synth(out, sensor_file, "--drives", "1", *more) == 0
        assert words in capsys.readouterr().out
    assert [clip.cameras["camera_front_wide_120fov"].model.width for clip in open_clips(out)] == [128]
    assert synth(out, sensor_file, "--drives", "1", "--exact") == 0
    assert len(open_clips(out)) == 2


def test_a_broken_drive_is_made_again(tmp_path, sensor_file, capsys):
    out = tmp_path / "set"
    assert synth(out, sensor_file, "--drives", "1") == 0
    metadata = next((out / "metadata").iterdir())
    whole = metadata.read_bytes()
    metadata.write_bytes(whole[: len(whole) // 2])
    assert synth(out, sensor_file, "--drives", "1") == 0
    assert "1 drives written" in capsys.readouterr().out
    assert metadata.read_bytes() == whole


def test_pinhole_cameras(tmp_path, sensor_file):
    out = tmp_path / "set"
    assert synth(out, sensor_file, "--drives", "1", "--cameras", "left", "--lens", "pinhole", "--width", "128",
                 "--pictures-per-sweep", "2") == 0  # fmt: skip
    camera = open_clips(out)[0].cameras["camera_left"]
    assert len(camera) == 6
    assert (camera.model.width, camera.model.height) == (128, 72)
    assert camera.model.fx == pytest.approx(64 / np.tan(np.radians(40)))
    wide = ["--drives", "1", "--cameras", "left", "--lens", "pinhole", "--width", "128", "--pictures-per-sweep", "2"]
    assert synth(out, sensor_file, *wide, "--fov", "120") == 0
    assert open_clips(out)[0].cameras["camera_left"].model.fx == pytest.approx(64 / np.tan(np.radians(60)))


@pytest.mark.parametrize(("more", "words"), [
    (("--drives", "0"), "--drives 0: must be at least 1"),
    (("--frames", "0"), "--frames 0: must be at least 1"),
    (("--seed", "-2"), "--seed -2"),
    (("--width", "7"), "--width 7: valid: 64 to 7680 pixels"),
    (("--fov", "190"), "--fov 190: valid: 10 to 170 degrees"),
    (("--cameras", "front,top"), "unknown camera 'top': there are front, left, right"),
    (("--sensor", "lidarium"), "unknown sensor 'lidarium'"),
])  # fmt: skip
def test_wrong_options(tmp_path, sensor_file, capsys, more, words):
    out = tmp_path / "set"
    assert synth(out, sensor_file, *more) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()


def test_output_that_is_a_file(tmp_path, sensor_file, capsys):
    with pytest.raises(SystemExit):
        synth(sensor_file, sensor_file)
    assert "is a file: expected a folder" in capsys.readouterr().err


def test_sensor_file_that_is_none(tmp_path, capsys):
    file = tmp_path / "broken.yaml"
    file.write_text("name: x\ncolumns: 10\n")
    assert synth(tmp_path / "set", file) == 2
    message = capsys.readouterr().err
    assert "missing key" in message
    assert str(file) in message
    assert "row_elevations_rad" in message


def test_another_sensor_in_the_same_folder(tmp_path, sensor_file, capsys):
    out, other = tmp_path / "set", tmp_path / "other.yaml"
    assert synth(out, sensor_file, "--drives", "1") == 0
    other.write_text(uniform_sensor(12, 240, 8, -24, name="other").to_yaml())
    assert synth(out, other, "--drives", "2") == 2
    assert "holds clips of the sensor tiny, not other" in capsys.readouterr().err
