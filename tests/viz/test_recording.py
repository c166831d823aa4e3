import re
from pathlib import Path

import numpy as np

from cosmos_lidar.clips import CameraStream, Clip, Sweep, one_lidar_clip
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
    return one_lidar_clip(
        "drive_a", sensor, tuple(f"{i:06d}" for i in range(frames)), times,
        lambda index: Sweep(range_m=np.full(sensor.shape, 10.0 + index, np.float32)),
        Path("drives"), "release", poses, cameras={"front": camera}, notes=("a <note>",),
    )  # fmt: skip


def test_frames_are_spread_over_the_clip():
    assert spread(7, 3) == [0, 3, 6]
    assert spread(2, 5) == [0, 1]
    assert spread(1, 5) == [0]
    assert spread(0, 5) == []


def test_report_of_a_recording(tmp_path):
    page = write_recording_report(tmp_path / "a.html", "My drives", [recording()], 3).read_text(encoding="utf-8")
    assert "<h1>My drives</h1>" in page
    assert re.findall(r"<h2 [^>]*>([^<]*)", page) == ["drive_a"]
    for fact in ("7 in 0.7 s", "uniform, 8 × 64", "front (7)", "a &lt;note&gt;", "front, image 3 of 7"):
        assert fact in page
    assert re.findall(r'alt="(sweep[^"]*) range map', page) == [f"sweep {i} · {i:06d}" for i in (0, 3, 6)]
    assert '"count": 512' in page
    assert "https:" not in page
