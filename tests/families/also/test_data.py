"""Batches of pretext samples from shards, and rows of voxels across the sweeps of a batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("megatron.energon")

from cosmos_lidar.errors import DataError
from cosmos_lidar.families.also.data import make_loaders
from cosmos_lidar.recipes import also_pretrain
from cosmos_lidar.training.engine import DataShare
from cosmos_lidar.training.overrides import apply_overrides
from energon_tasks.batches import join_batches
from tests.families.also.clouds import GRID, batch_of, cloud


def test_rows_of_voxels_are_those_of_the_batch() -> None:
    clouds = [cloud(seed) for seed in range(3)]
    batch = batch_of(clouds)
    voxels, rows = batch.voxels, batch.voxel_rows
    assert torch.equal(voxels[rows, 0], batch.points.batch_index)
    for number, one in enumerate(clouds):
        own = batch.points.batch_index == number
        assert torch.equal(voxels[rows[own], 1:], one.voxels.coords[one.voxels.voxel_of_point])
    joined = join_batches([batch_of(clouds[:1]), batch_of(clouds[1:])])
    assert torch.equal(joined.voxels, voxels)
    assert torch.equal(joined.voxel_rows, rows)


def test_points_without_a_voxel_stay_without() -> None:
    clouds = [cloud(seed, GRID) for seed in (1, 0)]
    missing = torch.cat([one.voxels.voxel_of_point < 0 for one in clouds])
    assert missing[len(clouds[0].points) :].any()
    assert torch.equal(batch_of(clouds).voxel_rows < 0, missing)


def test_training_and_validation_read_synthetic_drives(tmp_path: Path) -> None:
    """Two drives of four sweeps; training draws other queries each time, validation the same ones."""
    run = apply_overrides(also_pretrain.debug(), ["synthetic_drives=2", "data.batch_size=2"])
    train, val = make_loaders(run, tmp_path, DataShare(rank=0, world=1, seed=7))
    batches = iter(train)
    first = next(batches)
    assert len(first.coords) == len(first.seeds) == len(first.queries) == 2
    assert first.queries.lengths.tolist() == [300, 300]
    assert 0 < float(first.feats.values[:, 3].max()) < 2
    later = [next(batches) for _ in range(3)]
    seeds = [seed for batch in [first, *later] for seed in batch.seeds]
    assert len(set(seeds)) == len(seeds)
    twice = [list(val), list(val)]
    assert [len(batches) for batches in twice] == [2, 2]
    for one, other in zip(*twice, strict=True):
        assert torch.equal(one.queries.values, other.queries.values)
    assert not set(twice[0][0].clip_ids) & set(first.clip_ids)
    unknown = apply_overrides(run, [f"data.path={tmp_path / 'synthetic'}", "data.val_split=none"])
    with pytest.raises(DataError, match="none"):
        make_loaders(unknown, tmp_path, DataShare(rank=0, world=1, seed=7))
