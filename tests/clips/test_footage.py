"""Images and videos as blocks of frames: all of them once, in order, at the rate of the file, scaled if asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips.footage import open_footage, scaled
from cosmos_lidar.clips.video import write_mp4
from cosmos_lidar.errors import DataError
from cosmos_lidar.viz.images import write_png


def levels(count: int, height: int = 32, width: int = 48) -> list[np.ndarray]:
    return [np.full((height, width, 3), 20 + 10 * number, np.uint8) for number in range(count)]


@pytest.mark.parametrize("count", [1, 8, 19])
def test_a_video_is_all_its_frames_in_blocks(tmp_path: Path, count: int) -> None:
    write_mp4(tmp_path / "a.mp4", levels(count), 20.0)
    footage = open_footage(tmp_path / "a.mp4")
    blocks = list(footage.blocks())
    assert [len(block) for block in blocks] == [8] * (count // 8) + [count % 8] * (count % 8 > 0)
    assert footage.frames == count
    assert footage.fps == pytest.approx(20.0 if count > 1 else 24.0)
    assert footage.times_s is None
    frames = np.concatenate(blocks)
    assert frames.shape == (count, 32, 48, 3)
    assert np.abs(frames.astype(int) - np.stack(levels(count))).max() <= 3


def test_times_that_are_not_regular_are_kept(tmp_path: Path) -> None:
    times_s = [0.0, 0.1, 0.15, 0.4]
    write_mp4(tmp_path / "a.mp4", levels(4), 10.0, times_s)
    footage = open_footage(tmp_path / "a.mp4")
    assert footage.times_s == pytest.approx(times_s, abs=1e-3)
    assert footage.fps == pytest.approx(3 / 0.4, rel=0.01)


def test_an_image_is_one_frame(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    write_png(tmp_path / "a.png", image)
    footage = open_footage(tmp_path / "a.png")
    assert (footage.fps, footage.frames) == (0.0, 1)
    (block,) = footage.blocks()
    assert np.array_equal(block, image[None])


@pytest.mark.parametrize(
    ("size", "short", "wanted"),
    [((40, 64), 20, (20, 32)), ((64, 40), 20, (32, 20)), ((40, 61), 20, (20, 32)), ((40, 64), 0, (40, 64))],
)
def test_the_short_side_is_scaled_and_the_long_one_follows(size: tuple, short: int, wanted: tuple) -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, size[1])[None, :, None], (*size, 3)).astype(np.uint8)
    found = scaled(np.stack([ramp, ramp]), short)
    assert found.shape == (2, *wanted, 3)
    assert np.array_equal(found[0], found[1])
    assert found.mean() == pytest.approx(ramp.mean(), abs=2)


def test_a_scaled_video(tmp_path: Path) -> None:
    write_mp4(tmp_path / "a.mp4", levels(3), 20.0)
    (block,) = open_footage(tmp_path / "a.mp4", 16).blocks()
    assert block.shape == (3, 16, 24, 3)


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    for name in ("a.png", "a.mp4", "a.txt"):
        (tmp_path / name).write_bytes(b"nothing")
        with pytest.raises(DataError, match=name):
            open_footage(tmp_path / name)
