"""Shards of videos: of files and of the cameras of recordings; what cannot be decoded is left out and named."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("megatron.energon")

from cosmos_lidar.clips.clip import CameraStream, Clip
from cosmos_lidar.clips.video import VideoFile, write_mp4
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.videos import camera_videos, check_videos, find_videos, holds_only_videos, prepare_videos

OPTIONS = PrepareOptions(split=(1.0,), samples_per_shard=2)


def images(number: int, frames: int = 4) -> list[np.ndarray]:
    return [np.full((16, 24, 3), 20 + 20 * number + frame, np.uint8) for frame in range(frames)]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(4):
        write_mp4(folder / f"{number}.mp4", images(number), 25.0)
    return folder


def test_preparing_goes_on_names_what_is_broken_and_can_be_checked(videos: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    for number in range(4):
        (source / f"{number}.mp4").write_bytes((videos / f"{number}.mp4").read_bytes())
    (source / "deep" / "bad.MP4").write_bytes(b"nothing")
    options = PrepareOptions(split=(0.6, 0.4), samples_per_shard=2, bad_budget=0.5)
    records = prepare_videos(find_videos(source), tmp_path / "out", options)
    assert sum(record.samples for record in records) == 4
    assert "deep__bad" in (tmp_path / "out" / "report.json").read_text()
    assert prepare_videos(find_videos(source), tmp_path / "out", options) == records
    assert not list(check_videos(tmp_path / "out"))
    shard = tmp_path / "out" / records[0].name
    shard.write_bytes(shard.read_bytes()[:-100] + b"x" * 100)
    assert [problem[0] for problem in check_videos(tmp_path / "out")] == [records[0].name]
    with pytest.raises(DataError, match="1 videos cannot be used"):
        prepare_videos(find_videos(source), tmp_path / "strict", PrepareOptions(split=(0.6, 0.4), bad_budget=0.01))
    with pytest.raises(DataError, match="shards of other clips or other options"):
        prepare_videos(find_videos(videos), tmp_path / "out", options)
    with pytest.raises(DataError, match="no videos in it"):
        find_videos(tmp_path / "out" / ".nv-meta")


def test_a_sample_is_the_file_as_it_is(videos: Path, tmp_path: Path) -> None:
    (record, other) = prepare_videos(find_videos(videos), tmp_path / "out", OPTIONS)
    assert (record.samples, record.frames, other.samples) == (2, 8, 2)
    with tarfile.open(tmp_path / "out" / record.name) as tar:
        parts = {member.name: tar.extractfile(member).read() for member in tar}
    for key in record.clips:
        assert parts[f"{key}.mp4"] == (videos / f"{key}.mp4").read_bytes()
        facts = json.loads(parts[f"{key}.json"])
        assert facts == {"frames": 4, "fps": 25.0, "height": 16, "width": 24, "source": f"{key}.mp4", "drive": key}


def test_cameras_of_recordings_are_videos_of_one_drive(videos: Path, tmp_path: Path) -> None:
    """A camera that is a file is copied; images are encoded at the rate of their times."""
    times_us = 50_000 * np.arange(4)
    film, drawn = VideoFile(videos / "0.mp4"), images(3)
    cameras = {
        "front": CameraStream("front", times_us, film),
        "left": CameraStream("left", times_us, drawn.__getitem__),
    }
    clip = Clip("a", tmp_path, "test", cameras=cameras)
    sources = camera_videos([clip])
    assert [(source.key, source.drive, source.files) for source in sources] == [
        ("a_front", "a", (videos / "0.mp4",)), ("a_left", "a", ())
    ]  # fmt: skip
    assert sources[0].read() == (videos / "0.mp4").read_bytes()
    back = VideoFile(tmp_path / "left.mp4", content=sources[1].read())
    assert back.times_s().tolist() == pytest.approx([0.0, 0.05, 0.1, 0.15], abs=1e-3)
    assert all(np.abs(back(index).astype(int) - drawn[index]).max() <= 3 for index in range(4))
    with pytest.raises(UserError, match="1 drive"):
        prepare_videos(sources, tmp_path / "out", PrepareOptions(split=(0.5, 0.5)))
    with pytest.raises(DataError, match="no cameras in these recordings"):
        camera_videos([Clip("b", tmp_path, "test")])


def test_a_damaged_shard_is_written_again(videos: Path, tmp_path: Path, caplog) -> None:
    out = tmp_path / "out"
    records = prepare_videos(find_videos(videos), out, OPTIONS)
    shard = out / records[0].name
    shard.write_bytes(shard.read_bytes()[:-100])
    assert prepare_videos(find_videos(videos), out, OPTIONS) == records
    assert f"{shard} was changed or cut" in caplog.text
    assert not list(check_videos(out))


def test_names_that_meet_are_refused(videos: Path, tmp_path: Path) -> None:
    for name in ("a.b.mp4", "a_b.mp4"):
        (tmp_path / name).write_bytes((videos / "0.mp4").read_bytes())
    with pytest.raises(UserError, match="would both be sample a_b: rename one"):
        find_videos(tmp_path)


def test_which_folders_hold_only_videos(videos: Path, tmp_path: Path) -> None:
    assert holds_only_videos(videos)
    assert holds_only_videos(videos / "0.mp4")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.mp4").touch()
    (tmp_path / "x" / "notes.txt").touch()
    assert holds_only_videos(tmp_path)
    (tmp_path / "x" / "a.bin").touch()
    assert not holds_only_videos(tmp_path)
