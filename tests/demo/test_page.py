from __future__ import annotations

import json
from pathlib import Path

from cosmos_lidar.demo.page import write_page
from cosmos_lidar.demo.section import Section


def test_sections_and_what_was_left_out(tmp_path: Path) -> None:
    sections = [
        Section("Lidar tokenizer", "A sentence.", lambda report: report.text("a table"), "command", {"rmse": 1.0}),
        Section("Images", "Another.", lambda report: None, "command", {}, omitted=("video: no second image",)),
    ]
    page = write_page(tmp_path, "two drives", sections, [("Multi-view video", "one camera")])
    html = page.read_text(encoding="utf-8")
    places = [html.index(text) for text in ("two drives", "A sentence.", "a table", "Another.", "one camera")]
    assert places == sorted(places)
    assert html.count("<h2") == 3
    document = json.loads((tmp_path / "metrics.json").read_text())
    assert document["sections"] == {"Lidar tokenizer": {"rmse": 1.0}, "Images": {}}
    assert document["left_out"] == {"Multi-view video": "one camera", "Images": "video: no second image"}


def test_nothing_left_out_has_no_heading(tmp_path: Path) -> None:
    html = write_page(tmp_path, "drives", [Section("A", "B.", lambda report: None, "c", {})], []).read_text()
    assert "Left out" not in html
