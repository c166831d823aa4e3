from __future__ import annotations

import json
from pathlib import Path

import pytest

from cosmos_lidar.cli import main
from cosmos_lidar.errors import DataError
from cosmos_lidar.shards.check import Problem, check_shards
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.prepare import prepare_shards
from tests.shards.conftest import tiny_clip

SHARD = "train-000000.tar"


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    clips = [tiny_clip(name, 20) for name in ("north", "south", "west")]
    prepare_shards(clips, tmp_path / "shards", PrepareOptions(split=(2, 1), samples_per_shard=2))
    return tmp_path / "shards"


def problems(folder: Path) -> list[str]:
    return [f"{p.problem} | {p.shard} | {p.clip} | {p.key}" for p in check_shards(folder).problems]


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
