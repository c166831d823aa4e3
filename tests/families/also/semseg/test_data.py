"""Batches of labeled sweeps: classes, fractions, labels that are not known."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("megatron.energon")
pytestmark = pytest.mark.filterwarnings("ignore:.*pin_memory.*")

from cosmos_lidar.errors import DataError, UserError  # noqa: E402
from cosmos_lidar.families.also.semseg.data import make_loaders  # noqa: E402
from cosmos_lidar.shards.plan import PrepareOptions  # noqa: E402
from cosmos_lidar.shards.points_writer import write_points  # noqa: E402
from cosmos_lidar.training.engine import DataShare  # noqa: E402
from tests.families.also.semseg.sweeps import room_clip, small_run, write_label_map  # noqa: E402

SHARE = DataShare(rank=0, world=1, seed=0)


def run_on(folder: Path, clips: list, **data: object):
    write_points(clips, folder / "shards", PrepareOptions(split=(2, 1)))
    run = small_run(write_label_map(folder))
    return replace(run, data=replace(run.data, path=str(folder / "shards"), **data))


def test_training_takes_the_fraction_and_validation_all_points(tmp_path: Path):
    run = run_on(tmp_path, [room_clip(name) for name in "abc"], skip_ratio=2)
    train, val = make_loaders(run, tmp_path, SHARE)
    batches = list(islice(train, 6))
    frames = {key[-6:] for batch in batches for key in batch.__key__}
    assert frames == {"000000", "000002"}
    assert all(len(batch.all_points.values) == 0 for batch in batches)
    batch = next(iter(val))
    assert batch.all_points.lengths.tolist() == [600, 600]
    assert batch.all_classes.values.unique().tolist() == [0, 1, 2]
    points = batch.points.values
    cells = torch.cat([batch.points.batch_index[:, None].float(), (points / 0.2).trunc()], 1)
    assert len(points) == len(cells.unique(dim=0))
    assert batch.voxel_rows.unique().tolist() == list(range(len(batch.voxels)))
    (labeled,) = tmp_path.glob("labeled_2_train_*")
    shutil.rmtree(tmp_path / "shards")
    moved = run_on(tmp_path, [room_clip(name, 6) for name in "abc"], skip_ratio=2)
    train, _ = make_loaders(moved, tmp_path, SHARE)
    assert {key[-6:] for batch in islice(train, 9) for key in batch.__key__} == {"000000", "000002", "000004"}
    assert len(list(tmp_path.glob("labeled_2_train_*"))) == 2


def test_unknown_classes_are_counted_and_named(tmp_path: Path):
    clip = room_clip("a")
    read = clip.read_sweep

    def odd(number: int):
        sweep = read(number)
        return replace(sweep, labels=np.full(len(sweep.points), 77, np.uint16)) if number == 1 else sweep

    run = run_on(tmp_path, [clip.with_lidar(read=odd), *(room_clip(name) for name in "bc")], bad_sample_budget=0.0)
    run.data.train_split = next(split for split in ("train", "val") if _holds(run, split, "a"))
    train, _ = make_loaders(run, tmp_path, SHARE)
    with pytest.raises(DataError, match="labels of unknown classes 77"):
        list(islice(train, 20))


def _holds(run, split: str, clip: str) -> bool:
    document = json.loads((Path(run.data.path) / "points.json").read_text())
    return clip in document["clips"].get(split, ())


def test_points_without_labels_are_refused(tmp_path: Path):
    clips = [room_clip(name) for name in "abc"]
    bare = [clip.with_lidar(read=lambda n, clip=clip: replace(clip.read_sweep(n), labels=None)) for clip in clips]
    with pytest.raises(UserError, match="its points have no labels"):
        make_loaders(run_on(tmp_path, bare), tmp_path, SHARE)
