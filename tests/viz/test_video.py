import numpy as np
import pytest

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.viz import read_video, write_video


def moving_square(count, height, width):
    for index in range(count):
        image = np.full((height, width, 3), 40, np.uint8)
        image[10:26, 8 * index : 8 * index + 16] = (220, 220, 220)
        yield image


def test_round_trip_keeps_order_size_and_rate(tmp_path):
    import av

    path = tmp_path / "new" / "a.mp4"
    assert write_video(path, moving_square(8, 64, 128), fps=10) == 8
    back = list(read_video(path))
    assert len(back) == 8
    for index, (image, wanted) in enumerate(zip(back, moving_square(8, 64, 128), strict=True)):
        assert image.shape == (64, 128, 3)
        assert np.abs(image.astype(int) - wanted).mean() < 3, index
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.average_rate, stream.codec_context.name, stream.pix_fmt) == (10, "h264", "yuv420p")
    assert [entry.name for entry in path.parent.iterdir()] == ["a.mp4"]


def test_odd_sizes_are_padded_with_the_edge(tmp_path):
    write_video(tmp_path / "a.mp4", moving_square(2, 45, 67))
    image = next(iter(read_video(tmp_path / "a.mp4")))
    assert image.shape == (46, 68, 3)
    assert np.abs(image[:, -1].astype(int) - 40).max() < 12


def test_failures_leave_no_file(tmp_path):
    with pytest.raises(UserError, match="no frames for .*a.mp4"):
        write_video(tmp_path / "a.mp4", [])
    frames = [np.zeros((32, 32, 3), np.uint8), np.zeros((32, 34, 3), np.uint8)]
    with pytest.raises(UserError, match=r"frame 1 has the shape \(32, 34, 3\), the first one \(32, 32, 3\)"):
        write_video(tmp_path / "a.mp4", frames)
    assert list(tmp_path.iterdir()) == []


def test_unreadable_videos_are_named(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"this is text, not a video" * 40)
    for name in ("a.mp4", "missing.mp4"):
        with pytest.raises(DataError, match=f"not a readable video.*{name}.*Expected: a complete video"):
            list(read_video(tmp_path / name))
