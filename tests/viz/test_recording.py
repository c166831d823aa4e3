import base64
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import CameraStream, Clip, Sweep, one_lidar_clip
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import PinholeCamera, uniform_sensor
from cosmos_lidar.viz.label_colors import class_colors
from cosmos_lidar.viz.recording import coarse_to_fine, spread, write_recording_report
from cosmos_lidar.viz.recording_frames import PageLimits, pack_frame


def recording(frames: int = 7) -> Clip:
    """A ring of returns that grows from sweep to sweep, and one camera."""
    sensor = uniform_sensor(8, 64)
    poses = np.broadcast_to(np.eye(4), (frames, 2, 4, 4)).copy()
    poses[:, 0, 0, 3], poses[:, 1, 0, 3] = np.arange(frames), np.arange(frames) + 1
    camera = CameraStream(
        "front", np.arange(frames) * 100_000, lambda index: np.full((48, 64, 3), 30 * index % 256, np.uint8),
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


def data_of(page: str) -> dict:
    """What the page's script reads."""
    return json.loads(re.search(r'<script type="application/json" id="recording">(.*?)</script>', page)[1])


def test_any_first_frames_are_spread_over_all():
    assert list(coarse_to_fine([0, 5, 10, 15, 20])) == [0, 20, 10, 5, 15]
    for count in range(12):
        assert sorted(coarse_to_fine(list(range(count)))) == list(range(count))
    assert max(np.diff(sorted(list(coarse_to_fine(list(range(101))))[:9]))) <= 13


def test_page_of_a_recording(tmp_path):
    page = write_recording_report(tmp_path / "a.html", "My drives", [recording()], 3).read_text(encoding="utf-8")
    assert "<h1>My drives</h1>" in page
    assert re.findall(r"<h2 [^>]*>([^<]*)", page) == ["drive_a"]
    for fact in ("7 in 0.7 s", "uniform, 8 × 64", "front (7)", "a &lt;note&gt;"):
        assert fact in page
    (clip,) = data_of(page)["clips"]
    assert [frame["title"] for frame in clip["frames"]] == [f"sweep {i} · {i:06d}" for i in (0, 3, 6)]
    assert [frame["seconds"] for frame in clip["frames"]] == [0.0, 0.3, 0.6]
    assert clip["path"]["poses"] == [[0, 0, 0], [3, 0, 0], [6, 0, 0]]
    assert (clip["path"]["length"], len(clip["path"]["xy"])) == (6.0, 7)
    blocks = re.findall(r"data-block>([^<]*)<", page)
    assert len(blocks) == clip["frames"][-1]["first"] + 4  # points, map, image, overlay
    for frame, radius in zip(clip["frames"], (10.0, 13.0, 16.0), strict=True):
        (sweep,) = frame["sweeps"]
        raw = np.frombuffer(base64.b64decode(blocks[frame["first"] + sweep["points"]]), "<u2", 3 * 512).reshape(-1, 3)
        points = np.array(sweep["low"]) + raw / 65535 * np.array(sweep["span"])
        assert np.abs(np.linalg.norm(points, axis=1) - radius).max() < 0.002
    assert "https:" not in page


def test_classes_have_one_color_and_a_name(tmp_path):
    def labeled(index):
        labels = np.full((8, 64), 40 + 8 * (index > 3), np.uint16)
        return Sweep(range_m=np.full((8, 64), 10.0, np.float32), labels=labels)

    clip = replace(recording().with_lidar(read=labeled), format="synth")
    (about,) = data_of(write_recording_report(tmp_path / "a.html", "x", [clip]).read_text(encoding="utf-8"))["clips"]
    assert [(one["id"], one["name"]) for one in about["labels"]] == [(40, "road"), (48, "sidewalk")]
    assert [one["color"] for one in about["labels"]] == class_colors(np.array([40, 48])).tolist()


def test_frames_that_do_not_fit_are_left_out_evenly_with_a_message(tmp_path, caplog):
    one = pack_frame(recording(21), 10, PageLimits()).blocks.size
    limits = PageLimits(megabytes=5.5 * one / 1e6)
    page = write_recording_report(tmp_path / "a.html", "x", [recording(21)], 21, limits).read_text(encoding="utf-8")
    shown = [frame["index"] for frame in data_of(page)["clips"][0]["frames"]]
    assert shown == [0, 5, 10, 15, 20]
    assert "5 of 21 frames fit into" in page
    assert "fewer points (--points)" in caplog.text
    small = write_recording_report(tmp_path / "b.html", "x", [recording()], 7, PageLimits(megabytes=1e-6))
    assert len(data_of(small.read_text(encoding="utf-8"))["clips"][0]["frames"]) == 1


def test_clips_share_the_page(tmp_path):
    clips = [recording(), replace(recording(2), clip_id="[[blocks]]</script>{{title}}")]
    page = write_recording_report(tmp_path / "a.html", "x", clips, 2).read_text(encoding="utf-8")
    first, second = data_of(page)["clips"]
    assert second["id"] == "[[blocks]]</script>{{title}}"
    assert second["frames"][0]["first"] == first["frames"][-1]["first"] + 4
    assert page.count("data-block>") == 16


def test_a_recording_of_which_nothing_can_be_read_is_an_error(tmp_path):
    def broken(index):
        raise DataError("cut off", file="a.bin")

    clip = recording().with_lidar(read=broken)
    with pytest.raises(DataError, match=r"cut off \[file a.bin\]"):
        write_recording_report(tmp_path / "a.html", "x", [replace(clip, cameras={})])
    assert not (tmp_path / "a.html").exists()
