"""replay where there is nothing to run again; test_train.py replays a step of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_lidar.cli import main


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(tmp_path), "--step", "1"]) == 2
    assert "config.yaml" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["replay", str(tmp_path)])
    assert "--step" in capsys.readouterr().err
