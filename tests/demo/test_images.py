from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips.clip import CameraStream, Clip
from cosmos_lidar.clips.video import VideoFile
from cosmos_lidar.demo import images
from cosmos_lidar.demo.recordings import Recordings
from cosmos_lidar.demo.section import DemoContext, LeftOutError
from cosmos_lidar.viz.report import Report
from tests.demo.models import tiny_tokenizers


def test_images_and_their_reconstruction(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, recordings: Recordings
) -> None:
    tiny_tokenizers(monkeypatch, tmp_path / "models")
    section = images.make_section(recordings, DemoContext(tmp_path, data=Path("my drives")))
    assert "5 image(s) of camera camera_front, scaled to 64 x 32" in section.sentence
    assert "'my drives'" in section.command
    video = VideoFile(tmp_path / "images" / "camera_front.mp4")
    assert (len(video), video(0).shape) == (5, (32, 3 * 64, 3))
    assert section.numbers["embedded tokenizer"]["psnr"] < section.numbers["8 x 8 averages"]["psnr"]  # random weights
    report = Report("page")
    section.add_to(report)
    assert report.html().count("<video") == 1


def test_a_single_image_is_no_video(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, recordings: Recordings, rendered: Clip
) -> None:
    tiny_tokenizers(monkeypatch, tmp_path / "models")
    one = {name: replace(camera, timestamps_us=camera.timestamps_us[:1]) for name, camera in rendered.cameras.items()}
    report, context = Report("page"), DemoContext(tmp_path)
    images.make_section(replace(recordings, scene=replace(rendered, cameras=one)), context).add_to(report)
    assert "<video" not in report.html()
    assert report.html().count("<img") == 1


def test_averages_are_those_of_blocks() -> None:
    frames = np.zeros((1, 16, 16, 3), np.uint8)
    frames[:, :, ::2] = 200  # columns of 200 and 0: every block averages 100
    assert (images._averaged(frames) == 100).all()


def test_large_images_are_scaled_down() -> None:
    camera = CameraStream("c", np.arange(20), lambda number: np.zeros((1080, 1920, 3), np.uint8))
    assert images._frames(camera).shape == (9, 144, 256, 3)


def test_without_cameras(recordings: Recordings, tmp_path: Path) -> None:
    with pytest.raises(LeftOutError, match="no camera"):
        images.make_section(replace(recordings, scene=None), DemoContext(tmp_path))
