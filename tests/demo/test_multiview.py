from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import Clip
from cosmos_lidar.clips.video import VideoFile
from cosmos_lidar.demo import multiview
from cosmos_lidar.demo.recordings import Recordings
from cosmos_lidar.demo.section import DemoContext, LeftOutError
from cosmos_lidar.viz.report import Report
from tests.demo.models import tiny_multiview


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tiny_multiview(monkeypatch, tmp_path / "models")


@pytest.mark.usefixtures("models")
def test_video_of_three_cameras(tmp_path: Path, recordings: Recordings, rendered: Clip) -> None:
    section = multiview.make_section(recordings, DemoContext(tmp_path))
    assert "first frame of 3 cameras and generates 4 more of 48 x 32 pixels" in section.sentence
    video = VideoFile(tmp_path / "multiview" / "generated.mp4")
    assert (len(video), video(0).shape) == (5, (2 * 2 * 32, 3 * 2 * 48, 3))
    images = np.array([[rendered.cameras[name].read(n) for n in range(5)] for name in recordings.views], np.float64)
    error = np.square(images[:, 1:] - images[:, :1]).mean()
    assert section.numbers["given frame, repeated"] == pytest.approx(10 * np.log10(255**2 / error), abs=1e-6)
    report = Report("page")
    section.add_to(report)
    assert report.html().count("<video") == 1


@pytest.mark.usefixtures("models")
def test_what_leaves_it_out(tmp_path: Path, recordings: Recordings, rendered: Clip) -> None:
    name, late = recordings.views[1], np.array([0, 0, 0, 10**6, 10**6])  # from the fourth image on
    camera = rendered.cameras[name]
    gap = {**rendered.cameras, name: replace(camera, timestamps_us=camera.timestamps_us + late)}
    for changed, reason in (
        (replace(recordings, scene=None), "have no camera"),
        (replace(recordings, views=recordings.views[:1]), "have one camera: several are needed"),
        (replace(recordings, scene=replace(rendered, cameras=gap)), "no 5 frames in a row in common"),
    ):
        with pytest.raises(LeftOutError, match=reason):
            multiview.make_section(changed, DemoContext(tmp_path))


def test_fast_cameras_are_slowed_to_the_rate_of_the_network(rendered: Clip) -> None:
    camera = rendered.cameras["pinhole_front"]
    fast = replace(camera, timestamps_us=camera.timestamps_us[0] + np.arange(31) * 33_333)
    clocked = multiview.clock_of([fast, fast], frames=9, fps=10.0)
    assert clocked is not None
    assert clocked.numbers.tolist() == [list(range(0, 27, 3))] * 2
    slow = replace(camera, timestamps_us=camera.timestamps_us[0] + np.arange(9) * 500_000)
    clocked = multiview.clock_of([slow, fast], frames=3, fps=10.0)
    assert clocked is not None
    assert clocked.fps == pytest.approx(2.0)
    assert multiview.clock_of([slow, slow], frames=10, fps=10.0) is None


def test_cameras_take_the_places_that_the_network_was_trained_with(rendered: Clip) -> None:
    ahead = ("pinhole_front", "pinhole_front_left", "pinhole_front_right")
    chosen = multiview.choose_views(rendered, ahead, [5, 0, 1])
    assert list(chosen.items()) == [("pinhole_front_left", 5), ("pinhole_front", 0), ("pinhole_front_right", 1)]
    everything = tuple(rendered.cameras)
    assert list(multiview.choose_views(rendered, everything, [5, 0, 1]).values()) == [5, 0, 1]
    two = multiview.choose_views(rendered, ("pinhole_front", "camera_left"), [5, 0, 1])
    assert two == {"camera_left": 5, "pinhole_front": 0}
