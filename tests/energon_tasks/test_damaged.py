"""Damaged tars and indexes: the sample is named, counted and skipped; the others are read."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

pytest.importorskip("megatron.energon")

from cosmos_lidar.errors import DataError
from energon_tasks.sweeps import lidar_loader

OPTIONS = {"split": "train", "batch_size": 1, "frames_per_clip": 1, "rank": 0, "world_size": 1}


def second_sample(tar: Path) -> int:
    """Return where the header of the second sample's first member is."""
    with tarfile.open(tar) as opened:
        members = opened.getmembers()
    first = members[0].name.partition(".")[0]
    return next(member.offset for member in members if member.name.partition(".")[0] != first)


def overwrite(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def no_header(tar: Path) -> None:
    overwrite(tar, second_sample(tar), b"\xff" * 512)


def no_size(tar: Path) -> None:
    overwrite(tar, second_sample(tar) + 124, b"zzzzzzzzzzz\0")


def index_of_nowhere(tar: Path) -> None:
    overwrite(tar.with_name(f"{tar.name}.idx"), 8, b"\xff" * 8)


@pytest.mark.parametrize(("damage", "workers"), [(no_header, 0), (no_size, 2), (index_of_nowhere, 0)])
def test_the_damaged_sample_is_counted_and_the_others_are_read(
    shards: Path, tmp_path: Path, damage: Callable[[Path], None], workers: int
) -> None:
    folder = shutil.copytree(shards, tmp_path / "shards")
    whole = keys_of(folder)
    damage(folder / "train-000000.tar")
    loader = lidar_loader(folder, **OPTIONS, training=True, num_workers=workers, bad_sample_budget=0.5)
    found = {key for batch in islice(loader, 60) for key in batch.clip_ids}
    problems = loader.skip_report.problems()
    assert found <= whole
    assert found
    assert {row["shard"] for row in problems} == {"train-000000.tar"}
    assert {"sample 1"} <= {row["key"] for row in problems} <= {"sample 0", "sample 1"}
    assert all("damaged: " in row["problem"] for row in problems)


def keys_of(folder: Path) -> set[str]:
    """Return the clips of a split."""
    loader = lidar_loader(folder, **OPTIONS, training=True)
    return {key for batch in islice(loader, 60) for key in batch.clip_ids}


def test_an_index_that_is_cut_off_stops_above_the_budget(shards: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(shards, tmp_path / "shards")
    for index in folder.glob("train*.idx"):
        index.write_bytes(index.read_bytes()[:5])
    with pytest.raises(DataError, match="cannot be used"):
        list(islice(lidar_loader(folder, **OPTIONS, training=True), 60))
