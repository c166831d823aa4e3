"""Images of a run folder: the newest, made small; damaged ones are named."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from cosmos_lidar.runs.samples import read_samples
from cosmos_lidar.viz.images import write_png
from cosmos_lidar.viz.video import write_video


def test_the_newest_images_and_first_frames_of_videos(tmp_path: Path) -> None:
    folder = tmp_path / "validation"
    for step in (1, 2):
        write_png(folder / f"step_{step:09d}.png", np.full((20, 1920, 3), 100 * step, np.uint8))
    write_video(folder / "step_000000003.mp4", np.full((2, 32, 48, 3), 40, np.uint8), fps=10.0)
    write_png(tmp_path / "other.png", np.zeros((4, 4, 3), np.uint8))
    samples, problems = read_samples(tmp_path)
    assert problems == []
    assert [one.caption for one in samples] == [
        "validation/step_000000002.png",
        "validation/step_000000003.mp4, first frame",
    ]
    assert samples[0].size == (960, 10)
    with Image.open(io.BytesIO(samples[0].jpeg)) as image:
        assert image.format == "JPEG"
        assert abs(np.asarray(image).mean() - 200) < 2
    assert samples[1].size == (48, 32)


def test_damaged_images_are_named(tmp_path: Path) -> None:
    assert read_samples(tmp_path) == ([], [])
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "a.mp4").write_bytes(b"no video")
    (tmp_path / "samples" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    samples, problems = read_samples(tmp_path)
    assert samples == []
    assert [text.partition(":")[0] for text in problems] == ["samples/a.mp4", "samples/b.png"]
