"""Commands that train, examine and export runs, as a user types them; each in one process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cosmos_lidar.cli import main


def test_findings_as_json_and_the_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "dit", "recipe=debug", f"log.root={tmp_path}", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"]
    assert document["prediction"]["parameters"] > 300_000
    assert main(["doctor", "dit", "recipe=debug", f"log.root={tmp_path}", "data.path=nowhere"]) == 1
    assert "nowhere" in capsys.readouterr().out
    assert main(["doctor", "dit", "recipe=debug", "trainer.max_step=3"]) == 2
    assert "trainer.max_steps" in capsys.readouterr().err


def test_time_on_a_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "dit", "recipe=debug", "--machine", "h300"]) == 2
    assert "valid: h100-sxm, h100-nvl, h200, b200" in capsys.readouterr().err
    assert main(["doctor", "--machine", "h200"]) == 2
    assert "name the recipe" in capsys.readouterr().err
    arguments = ["doctor", "dit", "recipe=debug", f"log.root={tmp_path}", "--machine", "h200", "--nodes", "2", "--json"]
    assert main(arguments) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["time"]["step"]["gpus"] == 16
    assert document["time"]["step"]["seconds"] > 0
    assert {one["topic"] for one in document["findings"]} >= {"step", "network", "faster"}
