from __future__ import annotations

import io
import pickle
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from cosmos_lidar.clips.files import PictureFiles
from cosmos_lidar.clips.video import VideoFile, are_regular, write_mp4
from cosmos_lidar.errors import DataError
from cosmos_lidar.viz.video import read_video, write_video


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


MATRICES = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0), "mirrored": (-1, 0, 0, 1)}


@pytest.mark.parametrize("turn", MATRICES)
def test_images_are_as_a_player_shows_them(tmp_path, turn):
    shown = np.zeros((64, 48, 3), np.uint8)
    shown[:16, :32] = 250, 0, 0
    stored = np.rot90(shown, turn // 90) if turn != "mirrored" else shown[:, ::-1]  # undone by the header
    file = tmp_path / "a.mp4"
    write_mp4(file, [np.ascontiguousarray(stored)] * 10, 10.0)
    data = bytearray(file.read_bytes())
    at = data.index(b"tkhd") + 44
    a, b, c, d = (value * 65536 for value in MATRICES[turn])
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    file.write_bytes(data)
    for index in (7, 0):
        image = VideoFile(file)(index)
        assert image.shape == shown.shape
        assert np.abs(image.astype(int) - shown)[2:-2].max(-1)[:, [0, 8, 24, 40]][[0, 8, 20, 40]].max() < 12
    assert next(iter(read_video(file))).shape == shown.shape


def write_avi(file, codec: str, count: int = 24, b_frames: int = 2) -> None:
    with av.open(str(file), "w") as box:
        stream = box.add_stream(codec, rate=10)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.max_b_frames = 0 if codec == "mjpeg" else b_frames
        stream.codec_context.gop_size = 8
        for k in range(count):
            gray = np.full((48, 64, 3), 10 * k, np.uint8)
            gray[:, 2 * k : 2 * k + 8] = 255 - gray[0, 0]
            box.mux(stream.encode(av.VideoFrame.from_ndarray(gray, format="rgb24")))
        box.mux(stream.encode())


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "mjpeg"])
def test_containers_without_times_of_showing(tmp_path, codec):
    file = tmp_path / "a.avi"
    write_avi(file, codec)
    video = VideoFile(file)
    assert np.allclose(np.diff(video.times_s()), 0.1)
    assert len(video) == 24
    images = [video(index) for index in range(24)]
    for index, image in enumerate(images):
        assert abs(float(np.median(image)) - 10 * index) <= 6
    for start in range(0, 21, 3):
        fresh = VideoFile(file)
        assert all(np.array_equal(fresh(index), images[index]) for index in range(start, start + 4))
    assert all(np.array_equal(video(index), images[index]) for index in range(23, -1, -1))


def test_images_of_another_size_are_named(tmp_path):
    file = tmp_path / "a.mkv"
    with av.open(str(file), "w") as box:
        stream = box.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.time_base = 64, 48, "yuvj420p", Fraction(1, 10)
        for k, size in enumerate([(64, 48)] * 10 + [(96, 64)] * 10):
            jpeg = io.BytesIO()
            Image.new("RGB", size, (k, 0, 0)).save(jpeg, "JPEG")
            packet = av.Packet(jpeg.getvalue())
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, k, k, Fraction(1, 10)
            packet.is_keyframe = True
            box.mux(packet)
    video = VideoFile(file)
    assert video(9).shape == (48, 64, 3)
    message = "image 1[0-9] is 96 x 64, the first 64 x 48.*a.mkv"
    for broken in (video, VideoFile(file)):
        with pytest.raises(DataError, match=message):
            broken(15)
    with pytest.raises(DataError, match="image 10 is 96 x 64"):
        VideoFile(file).check()


def test_times_of_frames_are_kept(tmp_path):
    times_s = [0.0, 0.1, 0.2, 0.6, 0.7, 1.9]
    assert not are_regular(np.array(times_s))
    assert are_regular(np.arange(9) / 30 + 0.001 * (np.arange(9) % 2))
    write_mp4(tmp_path / "a.mp4", moving(6), 10.0, times_s)
    write_video(tmp_path / "b.mp4", moving(6), 10.0, times_s=times_s)
    for name in ("a.mp4", "b.mp4"):
        video = VideoFile(tmp_path / name)
        assert np.allclose(video.times_s(), times_s, atol=1e-3)
        assert abs(float(np.median(video(4))) - 28) <= 2


def test_the_limit_can_be_raised_beyond_what_the_decoder_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    images = [np.full((16, 16, 3), 90, np.uint8)] * 2
    write_mp4(tmp_path / "a.mp4", images, 10.0)
    monkeypatch.setenv("COSMOS_LIDAR_LARGEST_ITEM", "8GB")
    assert len(VideoFile(tmp_path / "a.mp4")) == 2
    assert VideoFile(tmp_path / "a.mp4")(1).shape == (16, 16, 3)
