import json
from pathlib import Path

import pytest

from cosmos_lidar.cli import main
from cosmos_lidar.clips import open_clips


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--drives", "1"], "at least 2"),
        (["--format", "kitti"], "--data is missing"),
        (["--data", "nowhere"], "nowhere"),
        (["--data", ".", "--format", "rosbag"], "rosbag"),
    ],
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
