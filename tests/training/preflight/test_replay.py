from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cosmos_lidar.cli import main
from cosmos_lidar.recipes import dit
from tests.training.debug_runs import losses, small


def test_a_step_is_run_again_with_the_options_of_its_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    every = ("trainer.save_every=3", "trainer.log_every=1")
    dit.train(small(tmp_path, "trainer.max_steps=6", *every))
    folder = dit.train(small(tmp_path, "optim.lr=1e-5", *every)).folder
    for step in (5, 8):
        assert main(["replay", str(folder), "--step", str(step)]) == 0
        assert f"loss {dict(losses(folder))[str(step)]} (as logged)" in capsys.readouterr().out


def test_a_step_is_run_again_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = dit.train(small(tmp_path, "trainer.save_every=3")).folder
    before = sorted(path for path in folder.rglob("*") if path.is_file())
    assert main(["replay", str(folder), "--step", "5"]) == 0
    said = capsys.readouterr().out
    logged = dict(losses(folder))["5"]
    assert f"loss {logged} (as logged)" in said
    assert "grad_norm" in said
    dump = torch.load(folder / "dumps" / "step_000000005" / "rank_00000.pt", weights_only=True)
    assert dump["loss"] == pytest.approx(float(logged))
    assert all(clip in said for clip in dump["clips"])
    after = [path for path in sorted(folder.rglob("*")) if path.is_file() and "dumps" not in path.parts]
    assert after == before
    assert main(["replay", str(folder), "--step", "9"]) == 2
    assert "1 to 8" in capsys.readouterr().err
    assert main(["replay", str(tmp_path), "--step", "1"]) == 2
    assert "no config.yaml in it" in capsys.readouterr().err
