"""Folders with a fraction of the labeled sweeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("megatron.energon")

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.shards.check import read_samples
from cosmos_lidar.shards.check_index import check_indexed
from cosmos_lidar.shards.label_subset import select_labeled, write_subset
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.points import read_sweep
from cosmos_lidar.shards.points_writer import write_points
from tests.shards.point_clips import labeled_clip, points_of


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("subset") / "out"
    clips = [labeled_clip(name, 5) for name in "abc"]
    write_points(clips, folder, PrepareOptions(split=(2, 1), samples_per_shard=3))
    return folder


def test_the_chosen_samples_are_copied(shards: Path, tmp_path: Path):
    chosen = select_labeled(shards, "train", 2)
    assert len(chosen) == 6  # sweeps 0, 2 and 4 of two clips
    write_subset(shards, "train", 2, tmp_path / "half")
    (tar,) = (tmp_path / "half").glob("*.tar")
    found = {place.key: read_sweep(parts) for place, parts in read_samples(tar)}
    assert list(found) == [place.key for _, place in chosen]
    for key, sweep in found.items():
        np.testing.assert_array_equal(sweep.points, points_of(key[0], int(key[-1])))
    assert not check_indexed(tmp_path / "half").problems


def test_what_has_no_fractions_is_refused(shards: Path, tmp_path: Path):
    with pytest.raises(UserError, match="a skip ratio is of one whole folder"):
        select_labeled(f"{shards},{shards}", "train", 2)
    other = labeled_clip("d", 1)
    clips = [labeled_clip("a", 1), type(other)(**{**vars(other), "format": "kitti"})]
    write_points(clips, tmp_path / "mixed", PrepareOptions(split=(1,)))
    with pytest.raises(DataError, match="sweeps of kitti, test"):
        select_labeled(tmp_path / "mixed", "train", 2)
