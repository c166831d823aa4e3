import re
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.cli import main


def write_scans(folder: Path, scans: int = 2) -> Path:
    """A folder of KITTI scans."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(scans):
        points = rng.normal(0, 15, (500, 4)).astype(np.float32)
        points[:, 2] = rng.uniform(-1.7, 0.2, 500)
        points.tofile(folder / f"{index:06d}.bin")
    return folder


def test_command_writes_the_page(tmp_path, capsys):
    scans = write_scans(tmp_path / "scans")
    assert main(["view", str(scans), "--format", "kitti", "--html", str(tmp_path / "a.html")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<h1>scans</h1>" in page
    assert page.count('"rows":64') == 2


def test_the_page_has_the_name_of_the_source(tmp_path, capsys, monkeypatch):
    scans = write_scans(tmp_path / "scans")
    monkeypatch.chdir(tmp_path)
    assert main(["view", str(scans), "--format", "kitti"]) == 0
    assert capsys.readouterr().out == "scans.html\n"
    assert (tmp_path / "scans.html").is_file()


def test_prepared_shards_are_shown(tmp_path, capsys):
    scans = write_scans(tmp_path / "scans")
    assert main(["prepare", str(scans), str(tmp_path / "shards"), "--format", "kitti", "--split", "1,0,0"]) == 0
    assert main(["view", str(tmp_path / "shards"), "--html", str(tmp_path / "a.html")]) == 0
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "Read as shards" in page
    assert page.count('"rows":64') == 2
    assert main(["view", str(tmp_path / "shards"), "--lidar", "x"]) == 2
    assert "--lidar is not valid for prepared shards" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--html", "a.html", "--points", "0"], "0 points, images of 960 pixels, 30 MB: expected at least 3 points"),
        (["--html", "a.html", "--frames", "0"], "--frames 0: expected at least 1"),
        (["--html", "a.html", "--clip", "zzz"], "no clip starts with 'zzz'; valid:"),
    ],
)
def test_command_names_wrong_options(tmp_path, capsys, monkeypatch, options, message):
    scans = write_scans(tmp_path / "scans")
    monkeypatch.chdir(tmp_path)
    assert main(["view", str(scans), "--format", "kitti", *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "a.html").exists()


def test_real_recordings_make_a_page(test_data, tmp_path):
    for name in ("kitti_velodyne", "nuscenes"):
        assert main(["view", str(test_data / name), "--html", str(tmp_path / f"{name}.html"), "--frames", "2"]) == 0
        page = (tmp_path / f"{name}.html").read_text(encoding="utf-8")
        assert min(int(count) for count in re.findall(r'"total":(\d+)', page)) > 30_000
