from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cosmos_lidar import weights
from cosmos_lidar.cli import main
from cosmos_lidar.clips import Clip, open_clips
from cosmos_lidar.clips.cut import cut_frames
from cosmos_lidar.demo import run
from cosmos_lidar.demo.run import DemoOptions, run_demo
from cosmos_lidar.demo.section import LeftOutError, Section, TrainingStoppedError
from tests.demo.models import tiny_backbone, tiny_lidargen, tiny_multiview, tiny_tokenizers

TITLES = ("Lidar tokenizer", "Image tokenizer", "Camera to lidar", "Multi-view video", "Semantic segmentation")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--drives", "1"], "at least 2"),
        (["--format", "kitti"], "--data is missing"),
        (["--data", "nowhere"], "nowhere"),
        (["--data", ".", "--format", "rosbag"], "rosbag"),
    ],
)
def test_wrong_options_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--out", "out", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "report.html").exists()


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch, recordings: Any) -> dict[str, Any]:
    """Return what each part does, which a test may change; the recordings are those of the fixture."""

    def make(name: str) -> Section:
        return Section(name, "What.", lambda report: None, "command", {})

    found: dict[str, Any] = {name: lambda recordings, context, name=name: make(name) for name in run.PARTS}

    monkeypatch.setattr(run, "find_part", lambda name: SimpleNamespace(TITLE=name, make_section=found[name]))
    monkeypatch.setattr(run, "_recordings", lambda options: recordings)
    return found


def _raise(error: Exception) -> Any:
    def make_section(recordings: object, context: object) -> Section:
        raise error

    return make_section


def test_a_signal_ends_the_demo_without_a_page(parts: dict[str, Any], tmp_path: Path) -> None:
    parts["multiview"] = _raise(TrainingStoppedError(2))
    assert run_demo(DemoOptions(tmp_path)) == 2
    assert not (tmp_path / "report.html").exists()


def test_one_part_that_fails_on_the_users_data_leaves_the_others(parts: dict[str, Any], tmp_path: Path) -> None:
    parts["images"], parts["segmentation"] = _raise(ValueError("odd\nimage")), _raise(LeftOutError("no labels"))
    assert run_demo(DemoOptions(tmp_path, data=Path("drives"))) == 0
    left_out = json.loads((tmp_path / "metrics.json").read_text())["left_out"]
    assert left_out == {"images": "ValueError: odd image", "segmentation": "no labels"}
    with pytest.raises(ValueError, match="odd"):  # of synthetic drives it is a mistake of the program
        run_demo(DemoOptions(tmp_path))


def test_reasons_of_recordings_that_allow_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rendered: Clip
) -> None:
    tiny_multiview(monkeypatch, tmp_path / "models")
    front = {"pinhole_front": rendered.cameras["pinhole_front"]}
    drive = replace(cut_frames(rendered, 0, 2), lidars={}, cameras=front)
    monkeypatch.setattr("cosmos_lidar.demo.recordings.open_clips", lambda *args, **options: [drive])
    assert main(["demo", "--out", str(tmp_path / "out"), "--data", str(tmp_path)]) == 0
    left_out = json.loads((tmp_path / "out" / "metrics.json").read_text())["left_out"]
    reasons = ("no lidar", "small-image-tokenizer is not in", "no lidar", "one camera", "no lidar")
    assert list(left_out) == list(TITLES)
    assert all(reason in text for reason, text in zip(reasons, left_out.values(), strict=True))
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Left out" in page
    assert all(title in page for title in TITLES)


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for embed in (tiny_tokenizers, tiny_lidargen, tiny_multiview, tiny_backbone):
        embed(monkeypatch, tmp_path / "models")


@pytest.mark.slow
@pytest.mark.usefixtures("models")
@pytest.mark.parametrize(("folder", "format"), [("kitti_velodyne", "kitti"), ("nuscenes", "nuscenes")])
def test_real_recordings(test_data: Path, tmp_path: Path, folder: str, format: str) -> None:
    out = tmp_path / "out"
    command = ["demo", "--out", str(out), "--data", str(test_data / folder), "--format", format, "--steps", "4"]
    assert main(command) == 0
    found = json.loads((out / "metrics.json").read_text())
    assert set(found["sections"]) | set(found["left_out"]) == set(TITLES)
    assert "Lidar tokenizer" in found["sections"]
    assert found["sections"]["Lidar tokenizer"]["after post-training"]["pooled"]["frames"] > 0
    assert list((out / "run").rglob("iter_*_dec.jit"))


@pytest.mark.slow
@pytest.mark.usefixtures("models")
def test_synthetic_drives_and_a_second_call(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["demo", "--out", str(out), "--drives", "2", "--steps", "4"]) == 0
    assert list(json.loads((out / "metrics.json").read_text())["sections"]) == list(TITLES)
    made = {path: path.stat().st_mtime_ns for path in out.rglob("*/lidar/*.tar")}
    assert len(open_clips(out / "drives")) == 2
    assert main(["demo", "--out", str(out), "--drives", "2", "--steps", "8"]) == 0
    assert made == {path: path.stat().st_mtime_ns for path in out.rglob("*/lidar/*.tar")}
    assert list((out / "run").rglob("iter_000000008_dec.jit"))


def test_the_models_that_come_with_the_package_are_those_of_the_demo() -> None:
    from cosmos_lidar.demo import camera_to_lidar, images, lidar_tokenizer, multiview, segmentation

    asked = {images.MODEL, lidar_tokenizer.MODEL, camera_to_lidar.MODEL, camera_to_lidar.LIDAR, camera_to_lidar.IMAGE}
    asked |= {multiview.MODEL, multiview.VAE, segmentation.MODEL}
    assert set(weights.names()) <= asked | {"small-semseg"}
