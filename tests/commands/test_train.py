"""train, replay and export, one after the other on one small run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cosmos_lidar.cli import main


def test_a_run_is_trained(run: Path) -> None:
    rows = (run / "metrics.csv").read_text().splitlines()
    assert [row.partition(",")[0] for row in rows[1:3]] == ["1", "2"]
    run = run if (run / "checkpoints").is_dir() else run.parent
    assert (run / "checkpoints" / "iter_000000002").is_dir()


def test_it_is_listed_as_finished(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run if (run / "checkpoints").is_dir() else run.parent
    assert main(["runs", str(run), "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)["runs"]
    facts = ("state", "reason", "family", "recipe", "step", "checkpoint_step", "ranks", "problems")
    assert [listed[name] for name in facts] == ["finished", "", "dit", "debug", 2, 2, 1, []]
    assert listed["seconds"] > 0
    assert listed["device"].endswith(("core", "cores"))


def test_wrong_names_end_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "no_such_recipe"]) == 2
    assert "no_such_recipe" in capsys.readouterr().err
    assert main(["train", "dit", "recipe=debug", "model.nname=x"]) == 2
    assert "model.name" in capsys.readouterr().err


def test_a_step_is_replayed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(run), "--step", "2"]) == 0
    assert "(as logged)" in capsys.readouterr().out
