"""``cosmos-lidar push --dry-run``: the folder of a run's checkpoint; uploads are tested in tests/hub."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cosmos_lidar.cli import main
from cosmos_lidar.hub import from_pretrained
from cosmos_lidar.training.checkpoint.reading import load_full
from cosmos_lidar.viz.images import write_png


def test_the_folder_of_a_run(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run / "checkpoints")
    checkpoint, out = Path("iter_000000002"), tmp_path / "model"
    (run / "samples").mkdir()
    write_png(run / "samples" / "step_2.png", np.zeros((20, 30, 3), np.uint8))
    assert main(["push", str(checkpoint), "org/denoiser", "--dry-run", "--out", str(out)]) == 0
    files = [Path(line).name for line in capsys.readouterr().out.splitlines()]
    assert files == ["model.safetensors", "config.json", "preview.jpg", "LICENSE", "README.md"]
    config = json.loads((out / "config.json").read_text())
    assert config["family"] == "dit"
    assert config["run"]["recipe"] == "debug"
    assert str(tmp_path.parent) not in json.dumps(config)
    assert (out / "preview.jpg").read_bytes()[:2] == b"\xff\xd8"
    card = (out / "README.md").read_text()
    assert "| recipe | dit debug |" in card
    assert "| steps | 2 |" in card
    weights = load_full(checkpoint, "model.") | load_full(checkpoint, "ema.")
    network = from_pretrained(out, family="dit")
    assert all(torch.equal(value, weights[name].float()) for name, value in network.state_dict().items())
    (out / "config.json").write_text(json.dumps({key: config[key] for key in ("family", "dtype", "license", "run")}))
    assert from_pretrained(out).config == network.config  # the options of the run determine it, too


def test_wrong_inputs(
    checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    source = str(checkpoints["CV4x8x8"])
    for arguments, message in (
        ([source, "tokenizer", "--dry-run"], "expected the name of a repository"),
        ([source, "org/tokenizer", "--dry-run"], "--license: these weights come from elsewhere"),
        ([str(tmp_path / "none.pt"), "org/tokenizer", "--dry-run"], "no such file or folder"),
        ([source, "org/tokenizer", "--dry-run", "--license", "mit", "--metrics", "none.json"], "none.json"),
    ):
        assert main(["push", *arguments]) == 2
        assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main(["push", source, "org/tokenizer", "--dry-run", "--license", "mit"]) == 0
    assert sorted(path.name for path in (tmp_path / "tokenizer").iterdir()) == [
        "README.md", "config.json", "model.safetensors",
    ]  # fmt: skip
