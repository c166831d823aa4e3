"""`cosmos-lidar sensor`: fit on files of points, show and convert."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.cli import main
from cosmos_lidar.clips import Sweep, one_lidar_clip
from cosmos_lidar.clips.writers.release import write_release
from cosmos_lidar.sensors import load_sensor, ray_directions
from cosmos_lidar.sensors.structured_model import model_of_sensor
from tests.sensors.fit.conftest import measured, small_lidar


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scans in the layout of KITTI, of a small lidar."""
    folder = tmp_path_factory.mktemp("drive") / "velodyne"
    folder.mkdir()
    for index in range(3):
        points = measured(small_lidar(), "rows", index).points
        np.concatenate([points, np.ones((len(points), 1), np.float32)], 1).tofile(folder / f"{index:06d}.bin")
    return folder


def test_fit_writes_a_sensor_file_and_a_report(scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.yaml"
    words = ["sensor", "fit", str(scans), "--format", "kitti", "--frames", "2", "--name", "mine", "--out", str(out)]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "mine: 16 beams by the order in the file" in text
    assert "columns: 720 in 360 degrees, clockwise" in text
    assert "points kept: 100.00% of" in text
    assert "in 2 sweeps" in text
    assert f"written: {out}" in text
    found = load_sensor(out)
    assert (found.name, found.shape, found.spin_hz) == ("mine", (16, 720), 10.0)
    assert np.degrees(np.abs(found.row_elevations_rad - small_lidar().row_elevations_rad)).max() < 0.005


def test_fit_as_json_against_a_table(scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, out = tmp_path / "table.yaml", tmp_path / "mine.json"
    table.write_text(small_lidar().to_yaml())
    words = ["sensor", "fit", str(scans), "--format", "kitti", "--compare", str(table), "--out", str(out), "--json"]
    assert main([*words, "--rows", "16", "--direction", "ccw"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["rows"], report["columns"], report["clockwise"], report["sweeps"]) == (16, 720, False, 3)
    assert report["errors"]["mean_deg"] < 0.005
    assert report["compared"]["mean_deg"] < 0.005
    assert len(report["compared"]["rows_deg"]) == 16
    assert json.loads(out.read_text())["n_columns"] == 720


def test_what_cannot_be_fitted_names_file_and_reason(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sensor", "fit", str(scans), "--format", "kitti", "--rows", "64"]) == 2
    assert f"16 beams, by the order in the file, a turn per beam [file {scans}, key rows]" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["sensor", "fit", str(scans), "--format", "kitti", "--frames", "0"])
    assert "--frames: 0: expected a whole number, 1 or more" in capsys.readouterr().err
    assert main(["sensor", "fit", str(scans), "--format", "kitti", "--map", "64"]) == 2
    assert "--map 64: expected ROWSxCOLUMNS" in capsys.readouterr().err
    sensor = small_lidar()
    ranges = Sweep(range_m=np.full(sensor.shape, 9.0, np.float32))
    times = np.array([[0, 100_000]])
    clip = one_lidar_clip("a1", sensor, ("0",), times, lambda index: ranges, tmp_path, "made",
                          np.tile(np.eye(4), (1, 2, 1, 1)))  # fmt: skip
    write_release(tmp_path / "release", clip)
    assert main(["sensor", "fit", str(tmp_path / "release")]) == 2
    assert "a sweep without points" in capsys.readouterr().err


def test_a_scanner_that_does_not_spin_is_refused_and_can_be_mapped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform([5, -20, -3], [60, 20, 6], (30_000, 3)).astype(np.float32)
    file = tmp_path / "000000.bin"
    np.concatenate([points, np.ones((len(points), 1), np.float32)], 1).tofile(file)
    assert main(["sensor", "fit", str(file), "--format", "kitti"]) == 2
    assert "or --map ROWSxCOLUMNS for an evenly spaced grid" in capsys.readouterr().err
    out = tmp_path / "mapped.yaml"
    assert main(["sensor", "fit", str(file), "--format", "kitti", "--map", "32x200", "--out", str(out)]) == 0
    assert "note: evenly spaced over the field of view" in capsys.readouterr().out
    mapped = load_sensor(out)
    assert mapped.shape == (32, 200)
    assert mapped.end_azimuth_rad is not None


def test_motion_compensation_is_undone_by_the_poses(test_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sensor", "fit", str(test_data / "av2"), "--lidar", "up_lidar", "--compare", "av2_up_vlp32c"]
    assert main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert "motion compensation undone by the poses" in report["notes"]
    assert report["errors"]["mean_deg"] <= 0.08
    assert report["compared"]["mean_deg"] < 0.01


def test_beams_of_another_origin(test_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sensor", "fit", str(test_data / "kitti_object"), "--frames", "1"]
    assert main([*words, "--out", str(tmp_path / "given.yaml")]) == 0
    assert "the beams' common origin is 0.20" in capsys.readouterr().out
    assert main([*words, "--out", str(tmp_path / "moved.yaml"), "--at-origin"]) == 0
    given, moved = (load_sensor(tmp_path / f"{name}.yaml") for name in ("given", "moved"))
    assert (given.row_elevations_rad > moved.row_elevations_rad).all()


def test_show_and_convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sensor", "show", "pandar128"]) == 0
    text = capsys.readouterr().out
    assert "pandar128: 128 x 3600, elevations 14.436 to -25.016 degrees" in text
    assert "fingerprint f2d0988faeb0" in text
    assert main(["sensor", "show", "pandar128", "--to", "json"]) == 0
    model = json.loads(capsys.readouterr().out)
    assert model == json.loads(json.dumps(model_of_sensor(load_sensor("pandar128"))))
    path, back = tmp_path / "unit.json", tmp_path / "unit.yaml"
    path.write_text(json.dumps(model))
    assert main(["sensor", "show", str(path), "--out", str(back)]) == 0
    assert np.allclose(ray_directions(load_sensor(back)), ray_directions(load_sensor("pandar128")), atol=1e-9)
    assert main(["sensor", "show", str(path), "--to", "yaml"]) == 0
    assert capsys.readouterr().out == back.read_text()
    path.write_text("{")
    assert main(["sensor", "show", str(path)]) == 2
    assert "not a JSON file" in capsys.readouterr().err
