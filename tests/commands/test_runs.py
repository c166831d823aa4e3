"""``cosmos-lidar runs`` as a user types it, on folders of finished, interrupted, failed and half-written runs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from cosmos_lidar.cli import main
from tests.runs.conftest import KILLED, write_run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_run(tmp_path / "posttraining" / "dit" / "a", optim__lr=0.1)
    write_run(tmp_path / "posttraining" / "dit" / "b", owner=KILLED, saved=(20,))
    half = write_run(tmp_path / "posttraining" / "also" / "half", rows=(), saved=())
    (half / "config.yaml").write_text("family: [")
    return tmp_path


def test_table_csv_json_and_page(root: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert main(["runs", str(root), "--html", str(page)]) == 0
    table = capsys.readouterr().out
    assert [line.split()[:2] for line in table.splitlines()[:4]] == [
        ["run", "state"], ["also/half", "unknown"], ["dit/a", "finished"], ["dit/b", "interrupted"],
    ]  # fmt: skip
    assert "loss 1 @ 20 · psnr 12 @ 20" in table
    assert "note: also/half: config.yaml: " in table
    assert "dit/b" in page.read_text(encoding="utf-8")

    assert main(["runs", str(root), "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["run"] for row in rows] == ["also/half", "dit/a", "dit/b"]
    assert (rows[1]["val/psnr"], rows[1]["val/psnr step"], rows[1]["seconds"]) == ("12.0", "20", "60.0")
    assert rows[2]["checkpoint_step"] == "20"

    assert main(["runs", str(root), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["differences"] == {"dit": {"optim.lr": {"dit/a": 0.1, "dit/b": 0.001}}}
    assert document["runs"][1]["best"]["val/loss"] == {"value": 1.0, "step": 20}
    assert document["runs"][0]["problems"]


def test_no_run_and_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(tmp_path)]) == 0
    assert "no run below" in capsys.readouterr().out
    assert main(["runs", str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err
