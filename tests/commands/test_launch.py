from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_lidar.cli import main
from cosmos_lidar.launch.printed import text_of


def test_launch_files_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["launch", "--print", "slurm"]) == 0
    assert capsys.readouterr().out == text_of("slurm")


@pytest.mark.parametrize(("words", "message"), [
    (["--print", "flux"], "--print flux: valid: slurm"),
    ([], "expected --cluster FILE RECIPE"),
    (["--cluster", "CLUSTER"], "expected --cluster FILE RECIPE"),
    (["--cluster", "nowhere.yaml", "dit"], "nowhere.yaml"),
])  # fmt: skip
def test_wrong_words_end_with_status_2(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cluster.yaml").write_text(text_of("local"))
    pytest.importorskip("nemo_run")
    assert main(["launch", *(str(tmp_path / "cluster.yaml") if word == "CLUSTER" else word for word in words)]) == 2
    assert message in capsys.readouterr().err
