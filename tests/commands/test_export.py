from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_lidar.cli import main


def test_a_checkpoint_is_exported(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run / "checkpoints" / "iter_000000002"), "--out", str(tmp_path / "out")]) == 0
    files = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert files
    assert all(file.is_file() for file in files)
    assert {file.suffix for file in files} >= {".pt", ".safetensors"}
    assert main(["export", str(tmp_path / "none"), "--out", str(tmp_path / "out2")]) == 2
    assert "none" in capsys.readouterr().err
