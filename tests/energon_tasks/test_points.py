"""Batches of point clouds: content, values that are asked for, seeds, bad samples."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("megatron.energon")
pytestmark = pytest.mark.filterwarnings("ignore:.*pin_memory.*")

from cosmos_lidar.errors import DataError, UserError  # noqa: E402
from cosmos_lidar.shards.plan import PrepareOptions  # noqa: E402
from cosmos_lidar.shards.points_writer import write_points  # noqa: E402
from energon_tasks.points import points_loader  # noqa: E402
from energon_tasks.trace import trace_batch  # noqa: E402
from tests.shards.point_clips import START_US, labeled_clip, points_of  # noqa: E402


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("points") / "out"
    write_points([labeled_clip(name, 2) for name in "abc"], folder, PrepareOptions(split=(2, 1), samples_per_shard=3))
    return folder


def open_points(folder: Path, split: str = "train", **options: object):
    common = {"batch_size": 2, "training": split == "train", "rank": 0, "world_size": 1} | options
    return points_loader(folder, split, **common)


def test_a_batch_holds_whole_sweeps(shards: Path):
    (batch,) = open_points(shards, "val", values=("intensity", "labels"))
    (name,) = set(batch.clip_ids)
    assert batch.frame_ids == ["frame0", "frame1"]
    assert batch.points.lengths.tolist() == [40, 45]
    np.testing.assert_array_equal(batch.points[1].numpy(), points_of(name, 1))
    assert batch.values["labels"][1].dtype == torch.int64
    assert batch.values["labels"][1].unique().tolist() == [0, 150, 300]
    assert batch.values["intensity"][1].tolist() == [0.25] * 45
    assert batch.poses[1][0, 3] == pytest.approx(1.5)
    assert batch.origins_m[0].tolist() == [[0, 0, 0]]
    assert set(batch.to("cpu").values) == {"intensity", "labels"}


def test_a_sweep_is_traced_to_its_recording(shards: Path):
    (batch,) = open_points(shards, "val")
    first, second = trace_batch(batch)
    assert (first.sample.clip, second.frame_number) == (batch.clip_ids[0], 1)
    assert second.sample.timestamps_us == ((START_US + 100_000, START_US + 200_000),)


def test_a_resumed_stream_has_the_same_seeds(shards: Path):
    loader = open_points(shards)
    first = [batch.noise_seeds for batch in islice(loader, 3)]
    state = loader.save_state_rank()
    wanted = [batch.noise_seeds for batch in islice(loader, 3)]
    again = open_points(shards)
    again.restore_state_rank(state)
    assert [batch.noise_seeds for batch in islice(again, 3)] == wanted
    assert len({seed for seeds in first + wanted for seed in seeds}) == 12


def test_values_that_are_not_there_are_refused(shards: Path, tmp_path: Path):
    with pytest.raises(UserError, match="'reflectivity'; valid: intensity, time, labels"):
        open_points(shards, values=("reflectivity",))
    clip = labeled_clip("a", 4)
    read = clip.read_sweep
    odd = clip.with_lidar(read=lambda number: read(number) if number != 2 else type(read(2))(points=read(2).points))
    write_points([odd], tmp_path / "out", PrepareOptions(split=(1,)))
    with pytest.raises(DataError, match=r"1 samples cannot be used.*labels\.npy"):
        list(islice(open_points(tmp_path / "out", values=("labels",)), 4))
