"""Samples of shards found by key, with the parts that the loader reads."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("megatron.energon")

from cosmos_lidar.families.also.data import synthetic_shards
from cosmos_lidar.shards.points import read_sweep, sample_key
from energon_tasks.partners import SampleStore
from energon_tasks.points import points_loader


def test_a_sample_is_found_by_clip_and_number(tmp_path: Path) -> None:
    folder, store = synthetic_shards(tmp_path / "shards", drives=2, seed=3, frames=2), SampleStore()
    for split in ("train", "val"):
        for batch in points_loader(folder, split, training=False, batch_size=1, rank=0, world_size=1):
            number = int(batch.frame_ids[0])
            parts = store.read(folder, sample_key(batch.clip_ids[0], number))
            sweep = read_sweep(parts)
            assert (sweep.meta.clip_id, sweep.meta.frame_number) == (batch.clip_ids[0], number)
            assert sweep.points.tolist() == batch.points[0].tolist()
    assert store.read(folder, sample_key(batch.clip_ids[0], 2)) is None
