from __future__ import annotations

import json
from pathlib import Path

import pytest

from cosmos_lidar.cli import main
from cosmos_lidar.errors import DataError
from cosmos_lidar.shards.check import Problem, check_shards
from tests.shards.damaged import SHARD, shards

__all__ = ["shards"]  # the fixture


def test_exit_status_and_json(shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shards / SHARD).unlink()
    assert main(["check", str(shards), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["problems"]
    assert vars(Problem("shard missing", SHARD)) in found
    assert main(["check", str(shards)]) == 1
    assert f"shard missing [shard {SHARD}]" in capsys.readouterr().out
    assert main(["check", str(shards / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err
    with pytest.raises(DataError, match="no such folder"):
        check_shards(shards / "nowhere")
