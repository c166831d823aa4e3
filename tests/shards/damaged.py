"""Shards that the tests of ``check`` damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.prepare import prepare_shards
from tests.shards.conftest import tiny_clip

SHARD = "train-000000.tar"


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    clips = [tiny_clip(name, 20) for name in ("north", "south", "west")]
    prepare_shards(clips, tmp_path / "shards", PrepareOptions(split=(2, 1), samples_per_shard=2))
    return tmp_path / "shards"
