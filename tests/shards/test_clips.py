"""Prepared shards as clips: the frames, times and poses of the recordings that they were made of."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("megatron.energon")

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.shards.clips import is_shards, open_shards
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.prepare import prepare_shards
from tests.shards.conftest import SENSOR, tiny_clip


@pytest.fixture(scope="module")
def given() -> list[Clip]:
    return [tiny_clip(name, 11) for name in ("north", "south", "west")]


@pytest.fixture(scope="module")
def folder(given: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples of at most 4 frames, two in a shard: clips lie across shards."""
    out = tmp_path_factory.mktemp("clips") / "out"
    prepare_shards(given, out, PrepareOptions(split=(0.67, 0.33), frames_per_sample=4, samples_per_shard=2))
    return out


def test_clips_are_those_that_were_prepared(given: list[Clip], folder: Path) -> None:
    opened = {clip.clip_id: clip for clip in open_shards(folder)}
    assert sorted(opened) == ["north", "south", "west"]
    for clip in given:
        found = pickle.loads(pickle.dumps(opened[clip.clip_id]))  # as workers get it
        assert found.sensor.fingerprint() == SENSOR.fingerprint()
        assert found.frame_ids == clip.frame_ids
        assert np.array_equal(found.timestamps_us, clip.timestamps_us)
        assert np.array_equal(found.world_SE3_lidar, clip.world_SE3_lidar)
        for index in (10, 0, 5):
            assert np.abs(found.range_map(index) - clip.range_map(index)).max() <= SENSOR.range_step_m / 2 + 1e-6


def test_splits(folder: Path) -> None:
    parts = [{clip.clip_id for clip in open_shards(folder, split)} for split in ("train", "val")]
    assert [len(part) for part in parts] == [2, 1]
    assert parts[0] | parts[1] == {"north", "south", "west"}
    with pytest.raises(UserError, match="no split 'test' in .*: there are train, val"):
        open_shards(folder, "test")


def test_what_is_damaged_is_named(folder: Path, tmp_path: Path) -> None:
    assert is_shards(folder)
    assert not is_shards(tmp_path)
    with pytest.raises(DataError, match="no manifest.json in it"):
        open_shards(tmp_path)
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        if path.suffix in (".json", ".tar"):
            (copy / path.name).write_bytes(path.read_bytes())
    shard = sorted(copy.glob("train*.tar"))[0]
    shard.write_bytes(shard.read_bytes().replace(b'"version":1', b'"version":8', 1))
    with pytest.raises(DataError, match=rf"version 8.*{shard.name}.*meta.json"):
        open_shards(copy)
