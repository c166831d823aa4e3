from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.cli import main
from cosmos_lidar.clips import Clip
from cosmos_lidar.demo import camera_to_lidar
from cosmos_lidar.demo.recordings import Recordings
from cosmos_lidar.demo.section import DemoContext, LeftOutError
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import load_sensor, points_to_range_map, uniform_sensor
from cosmos_lidar.viz.report import Report
from tests.demo.models import SENSOR, tiny_lidargen, tiny_tokenizers


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    tiny_tokenizers(monkeypatch, tmp_path / "models")
    tiny_lidargen(monkeypatch, tmp_path / "models")
    return tmp_path / "models"


def test_generated_sweeps_beside_recorded_ones(models: Path, tmp_path: Path, recordings: Recordings) -> None:
    section = camera_to_lidar.make_section(recordings, DemoContext(tmp_path))
    folder = tmp_path / "camera_to_lidar"
    assert load_sensor(folder / "sensor.yaml").fingerprint() == SENSOR.fingerprint()
    assert len(list(folder.glob("*.npz"))) == 3
    assert set(section.numbers) == {"generated from images", "recorded, through the tokenizer"}
    assert all(0.0 <= values["ray_drop_f1"] <= 1.0 for values in section.numbers.values())
    report = Report("page")
    section.add_to(report)
    html = report.html()
    assert "32 x 256 rays from the images of 3 cameras" in html
    assert html.count('"name": "Recorded"') == html.count('"name": "Generated"') == 3


def test_the_command_on_the_page_is_one(models: Path, tmp_path: Path, recordings: Recordings, capsys) -> None:  # noqa: ANN001
    text = camera_to_lidar._command(Path("nowhere"), tmp_path / "sensor.yaml")
    (tmp_path / "sensor.yaml").write_text(SENSOR.to_yaml(), encoding="utf-8")
    assert main(text.replace("\\\n", " ").split()[1:]) == 2
    assert "nothing is there [file nowhere]" in capsys.readouterr().err


def test_another_lidar_sees_the_same_points(rendered: Clip) -> None:
    sensor = uniform_sensor(8, 64)
    other = camera_to_lidar.seen_by(rendered, sensor)
    assert np.array_equal(other.range_map(2), points_to_range_map(rendered.points(2), sensor))
    assert camera_to_lidar.seen_by(rendered, rendered.sensor) is rendered


def test_what_leaves_it_out(models: Path, tmp_path: Path, recordings: Recordings, rendered: Clip) -> None:
    context = DemoContext(tmp_path)
    blind = {name: replace(one, model=None) for name, one in rendered.cameras.items()}
    for changed, reason in (
        (replace(recordings, scene=None), "have no camera"),
        (replace(recordings, scene=replace(rendered, lidars={})), "no lidar"),
        (replace(recordings, scene=replace(rendered, cameras=blind)), "no camera is calibrated"),
    ):
        with pytest.raises(LeftOutError, match=reason):
            camera_to_lidar.make_section(changed, context)
    late = {name: replace(one, timestamps_us=one.timestamps_us + 10**9) for name, one in rendered.cameras.items()}
    with pytest.raises(LeftOutError, match="near enough in time"):
        camera_to_lidar.make_section(replace(recordings, scene=replace(rendered, cameras=late)), context)


def test_a_model_without_its_sensor(models: Path, tmp_path: Path, recordings: Recordings) -> None:
    config = models / "small-lidargen" / "config.json"
    config.write_text(config.read_text().replace('"sensor"', '"lidar"'), encoding="utf-8")
    with pytest.raises(DataError, match="no sensor"):
        camera_to_lidar.make_section(recordings, DemoContext(tmp_path))
