from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cosmos_lidar.cli import main


def test_a_checkpoint_is_exported(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run / "checkpoints" / "iter_000000002"), "--out", str(tmp_path / "out")]) == 0
    files = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert files
    assert all(file.is_file() for file in files)
    assert {file.suffix for file in files} >= {".pt", ".safetensors"}
    assert main(["export", str(tmp_path / "none"), "--out", str(tmp_path / "out2")]) == 2
    assert "none" in capsys.readouterr().err


def test_a_tokenizer_goes_to_diffusers_and_back(
    checkpoints: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, back = tmp_path / "diffusers", tmp_path / "back.safetensors"
    assert main(["export", str(checkpoints["CV4x8x8"]), "--format", "diffusers", "--out", str(folder)]) == 0
    assert capsys.readouterr().out.split() == [str(folder / "config.json"), str(next(folder.glob("*.safetensors")))]
    assert main(["convert", str(folder), "--out", str(back)]) == 0
    before, after = load_file(checkpoints["CV4x8x8"]), load_file(back)
    assert list(before) == list(after)
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert main(["export", str(checkpoints["DV4x8x8"]), "--format", "diffusers", "--out", str(tmp_path / "no")]) == 2
    assert "no quantizer for discrete tokenizers" in capsys.readouterr().err


def test_a_run_that_diffusers_cannot_hold(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = str(run / "checkpoints" / "iter_000000002")
    assert main(["export", checkpoint, "--format", "diffusers", "--out", str(tmp_path / "out")]) == 2
    assert "cannot hold this network of Predict1" in capsys.readouterr().err
    assert main(["export", checkpoint, "--format", "diffusers", "--nemo", "--out", str(tmp_path / "out")]) == 2
    assert "give one of them" in capsys.readouterr().err
