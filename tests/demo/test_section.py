from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from cosmos_lidar import weights
from cosmos_lidar.demo.section import (
    DemoContext,
    LeftOutError,
    Section,
    TrainingStoppedError,
    embedded_model,
    train,
)
from cosmos_lidar.viz.report import Report


def test_a_section_is_heading_sentence_figures_and_command() -> None:
    section = Section("Points", "One <sentence>.", lambda report: report.table(["a"], [["b"]]), "run 'x' <y>", {})
    report = Report("page")
    section.add_to(report)
    html = report.html()
    places = [
        html.index(text)
        for text in ("Points</h2>", "One &lt;sentence&gt;.", "<td>b</td>", "run &#x27;x&#x27; &lt;y&gt;")
    ]
    assert places == sorted(places)


def test_models_that_are_not_installed_leave_a_section_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    with pytest.raises(LeftOutError, match="small-lidargen is not in this installation"):
        embedded_model("small-lidargen")
    (tmp_path / "small-lidargen").mkdir()
    (tmp_path / "small-lidargen" / weights.CONFIG).write_text("{}", encoding="utf-8")
    assert embedded_model("small-lidargen") == tmp_path / "small-lidargen" / "model.safetensors"


def test_steps_are_limited() -> None:
    assert DemoContext(Path("out")).limited(240) == 240
    assert DemoContext(Path("out"), steps=60).limited(240) == 60
    assert DemoContext(Path("out"), steps=600).limited(240) == 240


def test_a_signal_stops_the_demo() -> None:
    with pytest.raises(TrainingStoppedError) as stopped:
        train(SimpleNamespace(train=lambda run: SimpleNamespace(signal=15)), None)  # type: ignore[arg-type]
    assert stopped.value.signal == 15
    finished = SimpleNamespace(signal=0)
    assert train(SimpleNamespace(train=lambda run: finished), None) is finished  # type: ignore[arg-type]
