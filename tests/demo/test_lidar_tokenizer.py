from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cosmos_lidar.cli import main
from cosmos_lidar.demo import lidar_tokenizer
from cosmos_lidar.demo.recordings import Recordings, small_images
from cosmos_lidar.demo.section import DemoContext, LeftOutError
from cosmos_lidar.viz.report import Report
from tests.demo.models import tiny_tokenizers


def test_without_lidar(tmp_path: Path, recordings: Recordings) -> None:
    with pytest.raises(LeftOutError, match="no lidar"):
        lidar_tokenizer.make_section(replace(recordings, held_out=[]), DemoContext(tmp_path))


@pytest.mark.slow  # a training, and Chamfer distances of three candidates
def test_before_and_after_post_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, recordings: Recordings
) -> None:
    tiny_tokenizers(monkeypatch, tmp_path / "models")
    (clip,) = recordings.held_out
    clip = clip.with_lidar(sensor=small_images(clip.sensor))
    clips = [replace(clip, clip_id=name, cameras={}) for name in ("a", "b")]
    given = replace(recordings, train=clips[:1], held_out=clips[1:])
    section = lidar_tokenizer.make_section(given, DemoContext(tmp_path, steps=20))
    errors = {name: section.numbers[name]["pooled"] for name in (lidar_tokenizer.BEFORE, lidar_tokenizer.AFTER)}
    rmse = [one["published"]["rmse_m"] for one in errors.values()]
    assert rmse[1] < rmse[0]
    report = Report("page")
    section.add_to(report)
    html = report.html()
    assert section.numbers["protocol"]["hash"] in html
    assert html.count("<tr>") == 4  # head, after, before, averages


def test_the_command_on_the_page_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:  # noqa: ANN001
    monkeypatch.chdir(tmp_path)
    first, second = lidar_tokenizer._command(Path("nowhere")).splitlines()
    assert main(first.split()[1:]) == 2
    assert "nothing is there [file nowhere]" in capsys.readouterr().err
    (tmp_path / "shards").mkdir()
    assert main(second.split()[1:]) == 2
    assert "shards" in capsys.readouterr().err
