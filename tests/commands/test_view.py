import re
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.cli import main
from cosmos_lidar.clips import CameraStream, Clip, Sweep
from cosmos_lidar.sensors import PinholeCamera, uniform_sensor
from cosmos_lidar.viz.recording import spread, write_recording_report


def recording(frames: int = 7) -> Clip:
    """A ring of returns that grows from sweep to sweep, and one camera."""
    sensor = uniform_sensor(8, 64)
    poses = np.broadcast_to(np.eye(4), (frames, 2, 4, 4)).copy()
    poses[:, 0, 0, 3], poses[:, 1, 0, 3] = np.arange(frames), np.arange(frames) + 1
    camera = CameraStream(
        "front", np.arange(frames) * 100_000, lambda index: np.full((48, 64, 3), 30 * index, np.uint8),
        PinholeCamera(40.0, 40.0, 31.5, 23.5, 64, 48), poses[:, 0],
    )  # fmt: skip
    times = np.stack([np.arange(frames), np.arange(frames) + 1], axis=1) * 100_000
    return Clip(
        "drive_a", sensor, tuple(f"{i:06d}" for i in range(frames)), times,
        lambda index: Sweep(range_m=np.full(sensor.shape, 10.0 + index, np.float32)),
        Path("drives"), "release", poses, cameras={"front": camera}, notes=("a <note>",),
    )  # fmt: skip


def write_scans(folder: Path, scans: int = 2) -> Path:
    """A folder of KITTI scans."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(scans):
        points = rng.normal(0, 15, (500, 4)).astype(np.float32)
        points[:, 2] = rng.uniform(-1.7, 0.2, 500)
        points.tofile(folder / f"{index:06d}.bin")
    return folder


def test_frames_are_spread_over_the_clip():
    assert spread(7, 3) == [0, 3, 6]
    assert spread(2, 5) == [0, 1]
    assert spread(1, 5) == [0]
    assert spread(0, 5) == []


def test_report_of_a_recording(tmp_path):
    page = write_recording_report(tmp_path / "a.html", "My drives", [recording()], 3).read_text(encoding="utf-8")
    assert "<h1>My drives</h1>" in page
    assert re.findall(r"<h2 [^>]*>([^<]*)", page) == ["drive_a"]
    for fact in ("7 in 0.7 s", "uniform, 8 × 64", "front (7)", "a &lt;note&gt;", "front, picture 3 of 7"):
        assert fact in page
    assert re.findall(r'alt="(sweep[^"]*) range map', page) == [f"sweep {i} · {i:06d}" for i in (0, 3, 6)]
    assert '"count": 512' in page
    assert "https:" not in page


def test_rerun_file_holds_every_entity(tmp_path):
    pytest.importorskip("rerun", reason="rerun-sdk is not installed: extra viz")
    from cosmos_lidar.viz.rerun_export import write_rrd

    content = write_rrd(tmp_path / "new" / "a.rrd", recording(), frames=[0, 2]).read_bytes()
    assert content[:4] == b"RRF2"
    for entity in (b"/world/lidar/points", b"/world/front", b"/range_map", b"Pinhole:image_from_camera"):
        assert entity in content
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.rrd"]


def test_rerun_missing_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rerun", None)
    from cosmos_lidar.errors import UserError
    from cosmos_lidar.viz.rerun_export import write_rrd

    with pytest.raises(UserError, match=r"rerun is needed here.*cosmos_lidar\[viz\]"):
        write_rrd(tmp_path / "a.rrd", recording())


def test_command_writes_the_page(tmp_path, capsys):
    scans = write_scans(tmp_path / "scans")
    assert main(["view", str(scans), "--format", "kitti", "--html", str(tmp_path / "a.html")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<h1>scans</h1>" in page
    assert page.count("<img") == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "nothing to write: give --html OUT.html or --rrd OUT.rrd"),
        (["--html", "a.html", "--frames", "0"], "--frames 0: must be at least 1"),
        (["--html", "a.html", "--clip", "zzz"], "no clip begins with 'zzz'; there are"),
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
        assert min(int(count) for count in re.findall(r'"total": (\d+)', page)) > 30_000
