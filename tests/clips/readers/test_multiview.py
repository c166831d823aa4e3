"""Folders of the multi-view guide as clips: every camera, equal lengths, what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.readers import multiview
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.clips.video import write_mp4
from cosmos_lidar.errors import DataError
from tests.shards.cameras import NAMES, image_of

CLIPS = ("10023947602400723454_1120_000_1140_000", "10061305430875486848_1080_000_1100_000")


def write_sample(root: Path, frames: int = 6, names: tuple[str, ...] = NAMES, clips: tuple[str, ...] = CLIPS) -> Path:
    """Videos and captions of clips."""
    for number, name in enumerate(names):
        (root / "videos" / name).mkdir(parents=True)
        (root / "metas" / name).mkdir(parents=True)
        for clip in clips:
            images = [image_of(number, frame) for frame in range(frames)]
            write_mp4(root / "videos" / name / f"{clip}.mp4", images, 10.0)
            (root / "metas" / name / f"{clip}.txt").write_text(f"A street, seen by {name}.")
    return root


def test_clips_have_every_camera_in_the_published_order(tmp_path: Path):
    (tmp_path / "videos" / "3d_lanes").mkdir(parents=True)
    (tmp_path / "videos" / "3d_lanes" / "x.tar").touch()
    clips = open_clips(write_sample(tmp_path))
    assert [clip.clip_id for clip in clips] == list(CLIPS)
    assert list(clips[0].cameras) == list(NAMES)
    camera = clips[1].cameras["pinhole_front"]
    assert camera.timestamps_us.tolist() == [0, 100_000, 200_000, 300_000, 400_000, 500_000]
    assert abs(int(camera.read(4)[0, 0, 1]) - int(image_of(2, 4)[0, 0, 1])) < 4


def test_the_folder_of_videos_and_bare_videos(tmp_path: Path):
    write_sample(tmp_path / "a")
    assert multiview.recognise(tmp_path / "a" / "videos") == Strength.EXACT
    write_sample(tmp_path / "b", names=("left", "right"))
    assert multiview.recognise(tmp_path / "b") == Strength.EXACT
    for name in ("left", "right"):
        for file in (tmp_path / "b" / "metas" / name).iterdir():
            file.unlink()
        (tmp_path / "b" / "metas" / name).rmdir()
    (tmp_path / "b" / "metas").rmdir()
    assert multiview.recognise(tmp_path / "b") == Strength.GENERIC
    assert len(open_clips(tmp_path / "b")) == 2
    assert multiview.recognise(tmp_path) == Strength.NONE
    with pytest.raises(DataError, match="no videos in it"):
        multiview.open_clips(tmp_path)


def test_a_missing_camera_folder_is_named(tmp_path: Path):
    write_sample(tmp_path)
    (tmp_path / "videos" / "pinhole_front_left").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"no videos of camera pinhole_front_left, which metas/pinhole_front_left"):
        open_clips(tmp_path)


def test_a_missing_video_and_unequal_lengths_are_named(tmp_path: Path):
    write_sample(tmp_path)
    short = tmp_path / "videos" / "pinhole_side_right" / f"{CLIPS[0]}.mp4"
    write_mp4(short, [image_of(4, frame) for frame in range(5)], 10.0)
    (tmp_path / "videos" / "pinhole_front" / f"{CLIPS[1]}.mp4").unlink()
    found: list[DataError] = []
    assert open_clips(tmp_path, on_error=found.append) == []
    assert [(error.clip, error.key) for error in found] == [(CLIPS[0], NAMES[4]), (CLIPS[1], "pinhole_front")]
    assert "5 frames at 10 per second; pinhole_side_left has 6" in found[0].problem
    assert found[1].problem == "no such video"
    with pytest.raises(DataError, match="equal lengths"):
        open_clips(tmp_path)


def test_a_folder_without_videos(tmp_path: Path):
    with pytest.raises(DataError, match="not recognized as multiview"):
        open_clips(tmp_path, format="multiview")
    write_sample(tmp_path / "a", clips=("x",))
    (tmp_path / "a" / "videos" / "pinhole_front" / "x.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match=r"not a readable video.*x\.mp4"):
        open_clips(tmp_path / "a")
