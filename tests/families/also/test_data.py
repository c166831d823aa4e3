"""Batches of pretext samples from shards, and rows of voxels across the sweeps of a batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("megatron.energon")

from cosmos_lidar.errors import DataError
from cosmos_lidar.families.also.data import PretextTaskEncoder, make_loaders, synthetic_shards
from cosmos_lidar.recipes import also_pretrain
from cosmos_lidar.training.engine import DataShare
from cosmos_lidar.training.overrides import apply_overrides
from energon_tasks.batches import join_batches
from energon_tasks.points import PointCloud, points_loader
from energon_tasks.skips import SkipReport
from tests.families.also.clouds import GRID, batch_of, cloud


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return shards of two drives of four sweeps."""
    return synthetic_shards(tmp_path_factory.mktemp("points") / "shards", drives=2, seed=1234)


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


def test_training_and_validation_read_synthetic_drives(shards: Path) -> None:
    """Two drives of four sweeps; training draws other queries each time, validation the same ones."""
    run = apply_overrides(also_pretrain.debug(), [f"data.path={shards}", "data.batch_size=2"])
    train, val = make_loaders(run, shards, DataShare(rank=0, world=1, seed=7))
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
    unknown = apply_overrides(run, ["data.val_split=none"])
    with pytest.raises(DataError, match="none"):
        make_loaders(unknown, shards, DataShare(rank=0, world=1, seed=7))


def test_pairs_of_scans_have_the_poses_of_their_augmented_points(shards: Path) -> None:
    """Every augmented point, taken to the world by its pose, is a point of the sweep as it was recorded."""
    run = apply_overrides(
        also_pretrain.debug(), ["model.contrast.weight=1", "data.batch_size=2", f"data.path={shards}"]
    )
    share = DataShare(rank=0, world=1, seed=7)
    train, val = make_loaders(run, shards, share)
    batch = next(iter(train))
    assert (len(batch.seeds), len(batch.coords), batch.poses.shape) == (2, 4, (4, 4, 4))
    every = points_loader(shards, "train", training=False, batch_size=1, rank=0, world_size=1)
    recorded = {}
    for one in every:
        world = one.points[0].double() @ one.poses[0][:3, :3].T + one.poses[0][:3, 3]
        recorded[one.frame_ids[0]] = world
    frames = []
    for points, pose in zip(batch.points, batch.poses, strict=True):
        world = points.double() @ pose[:3, :3].T + pose[:3, 3]
        far = {frame: float(torch.cdist(world[:50], cloud).amin(1).max()) for frame, cloud in recorded.items()}
        frames.append(min(far, key=far.__getitem__))
        assert far[frames[-1]] < 1e-3
    assert [abs(int(a) - int(b)) for a, b in zip(frames[::2], frames[1::2], strict=True)] == [2, 2]
    first = next(iter(val))
    assert float(first.poses.diff(dim=0).abs().max()) > 0
    lonely = apply_overrides(run, ["model.contrast.gap=9"])
    assert list(make_loaders(lonely, shards, share)[1]) == []


def test_scans_without_poses_are_refused() -> None:
    run = apply_overrides(also_pretrain.debug(), ["model.contrast.weight=1"])
    points = PointCloud(
        __key__="a", __restore_key__=(), points=torch.zeros(1, 3), values={}, pose=None, origins_m=torch.zeros(1, 3),
        clip_id="drive", frame_id="0", noise_seed=0,
    )  # fmt: skip
    with pytest.raises(DataError, match="no pose .*drive.*model.contrast.weight=0 data.sweeps=0 trains without"):
        PretextTaskEncoder(run, 0, True, SkipReport())._pose(points)


def test_sweeps_before_and_after_give_queries(shards: Path) -> None:
    """A third of the queries each; those of other sweeps near a return lie at returns of these, in one world."""
    run = apply_overrides(also_pretrain.debug(), ["data.sweeps=1", "data.rotation=false", "data.flip=false"])
    run = apply_overrides(run, [f"data.path={shards}", "data.batch_size=1", "data.queries=300"])
    for batch in make_loaders(run, shards, DataShare(rank=0, world=1, seed=7))[1]:
        assert 100 < int(batch.queries.lengths[0]) <= 300
        near = batch.intensities.values[:, 0] >= 0
        far_off = torch.cdist(batch.queries.values[near], batch.points.values).amin(1)
        assert float(far_off.median()) < 1.0
