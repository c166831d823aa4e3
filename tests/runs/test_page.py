"""The page: curves over each other, options, images; no scripts from outside, bounded, without errors in a browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.runs import page
from cosmos_lidar.runs.page import write_page
from cosmos_lidar.runs.reading import RunRecord, read_run
from cosmos_lidar.viz.images import write_png
from tests.viz.test_report_in_browser import CHROMIUM, attribute, open_page

Make = Callable[..., Path]


@pytest.fixture
def runs(make_run: Make) -> list[RunRecord]:
    folders = [make_run("a<b>", optim__lr=0.1), make_run("second", optim__lr=0.2), make_run("third", family="also")]
    write_png(folders[0] / "validation" / "step_000000030.png", np.zeros((8, 8, 3), np.uint8))
    (folders[1] / "config_until_000000010.yaml").touch()
    return [read_run(folder, folder.name) for folder in folders]


def test_sections(runs: list[RunRecord], tmp_path: Path) -> None:
    text = write_page(tmp_path / "page.html", tmp_path, runs, ["closed: not searched"]).read_text(encoding="utf-8")
    headings = re.findall(r"<h2[^>]*>([^<]*)", text)
    assert headings == [
        "Runs",
        "Best validations",
        "Options that differ",
        "Curves",
        "Samples",
        "Missing, damaged, left out",
    ]
    assert re.search(r"optim\.lr</td><td>0\.1</td><td>0\.2", text)
    assert "a<b>" not in text
    assert "a&lt;b&gt;" in text
    plots = re.findall(r'<svg viewBox="0 0 100 100".*?</svg>', text, re.S)
    assert [plot.count("<path") for plot in plots] == [2, 2, 2, 1, 1, 1], "loss, val/loss, val/psnr of two families"
    assert text.count("data:image/jpeg;base64,") == 1
    assert not re.search(r"(src|href)=['\"]?(https?:)?//", text)


def test_a_page_is_bounded(runs: list[RunRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MOST_LINES", 1)
    monkeypatch.setattr(page, "MOST_PLOTS", 2)
    text = write_page(tmp_path / "page.html", tmp_path, runs).read_text(encoding="utf-8")
    assert text.count('<svg viewBox="0 0 100 100"') == 2
    assert "1 of 2 runs" in text
    assert "Further metrics are left out" in text


def test_without_runs_the_page_names_why(tmp_path: Path) -> None:
    text = write_page(tmp_path / "page.html", tmp_path, [], ["no run below x"]).read_text(encoding="utf-8")
    assert "no run below x" in text


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path: apt-get install chromium")
def test_no_errors_and_nothing_wider_than_a_phone(runs: list[RunRecord], tmp_path: Path) -> None:
    path = write_page(tmp_path / "page.html", tmp_path, runs)
    probe = "<script>document.documentElement.dataset.over = document.body.scrollWidth - innerWidth;</script></body>"
    path.write_text(path.read_text(encoding="utf-8").replace("</body>", probe), encoding="utf-8")
    dom, console = open_page(path, tmp_path / "profile", "--window-size=500,900")
    assert console == []
    assert attribute(dom, "data-problems") is None
    assert int(attribute(dom, "data-over")) <= 0
