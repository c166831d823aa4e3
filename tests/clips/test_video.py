from __future__ import annotations

import pickle
from pathlib import Path

import av
import numpy as np
import pytest

from cosmos_lidar.clips.files import PictureFiles
from cosmos_lidar.clips.video import VideoFile, write_mp4
from cosmos_lidar.errors import DataError


def moving(count: int, height: int = 50, width: int = 70) -> list[np.ndarray]:
    """Return images whose brightness counts, with a bar that moves."""
    images = [np.full((height, width, 3), 20 + 2 * k, np.uint8) for k in range(count)]
    for k, image in enumerate(images):
        image[:, k % width] = 255
    return images


def test_any_order(tmp_path):
    given = moving(80)
    assert write_mp4(tmp_path / "a.mp4", given, 30.0) == 80
    video = VideoFile(tmp_path / "a.mp4")
    assert len(video) == 80
    for index in (79, 0, 1, 2, 40, 39, 41, 60, 60, 5):
        assert abs(float(np.median(video(index))) - (20 + 2 * index)) <= 2
    copy = pickle.loads(pickle.dumps(video))
    assert np.array_equal(copy(33), video(33))


def test_odd_sizes_lose_a_row_and_a_column(tmp_path):
    write_mp4(tmp_path / "a.mp4", moving(3, 51, 71), 10.0)
    assert VideoFile(tmp_path / "a.mp4")(1).shape == (50, 70, 3)


def test_broken_videos(tmp_path):
    file = tmp_path / "a.mp4"
    write_mp4(file, moving(30), 10.0)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="not a readable video.*a.mp4, clip drive"):
        VideoFile(file, "drive")(0)
    file.write_bytes(b"")
    with pytest.raises(DataError, match="not a readable video.*a.mp4"):
        len(VideoFile(file))
    with pytest.raises(DataError, match="not a readable video.*absent.mp4"):
        len(VideoFile(tmp_path / "absent.mp4"))


def test_broken_picture(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DataError, match="not a readable image.*a.png, clip drive"):
        PictureFiles((tmp_path / "a.png",), "drive")(0)


def test_real_video_in_any_order(test_data):
    path = test_data / "video" / "solidWhiteRight.mp4"
    video = VideoFile(path)
    assert len(video) == 221
    wanted = {}
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index in (0, 1, 97, 150, 220):
                wanted[index] = frame.to_ndarray(format="rgb24")
    for index in (220, 97, 0, 150, 1):
        assert np.array_equal(video(index), wanted[index])


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile other.mp4\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nother.mp4\n#EXT-X-ENDLIST\n",
    ],
    ids=["concat", "HLS"],
)
def test_lists_of_other_files_are_no_videos(text: str, tmp_path: Path) -> None:
    write_mp4(tmp_path / "other.mp4", [np.zeros((32, 48, 3), np.uint8)] * 3, 10)
    assert len(VideoFile(tmp_path / "other.mp4")) == 3
    (tmp_path / "list.mp4").write_text(text)
    with pytest.raises(DataError, match=r"not a readable video.*list\.mp4"):
        len(VideoFile(tmp_path / "list.mp4"))


def test_images_above_the_limit_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mp4(tmp_path / "x.mp4", [np.zeros((32, 48, 3), np.uint8)] * 3, 10)
    monkeypatch.setattr("cosmos_lidar.bounds.LARGEST_ITEM", 4000)
    with pytest.raises(DataError, match=r"images of 48 x 32 would take 4\.6 KB"):
        VideoFile(tmp_path / "x.mp4")(0)
