"""Energon's index of a folder: samples, splits and counts as Energon has them; what is no index is refused."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

pytest.importorskip("megatron.energon")

from cosmos_lidar.errors import DataError
from cosmos_lidar.shards.check import read_samples
from cosmos_lidar.shards.energon_index import (
    count_samples,
    read_energon_index,
    read_tar_index,
    shards_of,
    split_names,
)
from cosmos_lidar.shards.files import write_tar
from cosmos_lidar.shards.manifest import index_with_energon
from cosmos_lidar.shards.sweeps import PackedRun
from tests.shards.energon_folders import index

NAMES = ["train-000000.tar", "train-000001.tar", "val-000000.tar"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES):
        samples = [PackedRun(f"s{number}_{n}", {"a.npy": bytes(n), "b.json": b"{}"}, 1, 0) for n in range(number + 1)]
        write_tar(tmp_path / name, samples)
    index_with_energon(tmp_path, NAMES)
    return tmp_path


def split_yaml(folder: Path, **document: object) -> None:
    (folder / ".nv-meta" / "split.yaml").write_text(json.dumps(document))


def test_the_index_has_the_samples_where_the_tars_have_them(folder: Path) -> None:
    found = read_energon_index(folder)
    assert found.splits == {"train": NAMES[:2], "val": NAMES[2:]}
    assert split_names(folder) == ["train", "val"]
    assert [count_samples(folder, split) for split in ("train", "val")] == [3, 3]
    for name in NAMES:
        places = [place for place, _ in read_samples(folder / name)]
        assert found.samples[name] == places
        assert read_tar_index(folder / name) == [*(place.start for place in places), places[-1].stop]


def test_braces_exclusions_and_older_files(folder: Path) -> None:
    split_yaml(
        folder, split_parts={"train": ["train-{000000..000003}.tar"], "val": []}, exclude=["train-00000{2,3}.tar"]
    )
    assert shards_of(folder, "train") == NAMES[:2]
    assert split_names(folder) == ["train"]
    with pytest.raises(DataError, match=r"split 'val' is empty.*valid: train"):
        shards_of(folder, "val")
    (folder / ".nv-meta" / "split.yaml").rename(folder / ".nv-meta" / "split.json")
    assert shards_of(folder, "train") == NAMES[:2]
    info = folder / ".nv-meta" / ".info.json"
    info.rename(info.with_suffix(".yaml"))
    assert count_samples(folder, "train") == 3


@pytest.mark.parametrize(
    "pattern", ["x-{0..999999999}.tar", "x-{0..9999}{0..9999}.tar", "{a,{0..99999999}}.tar", "{0..-2000000..2}.tar"]
)
def test_patterns_for_millions_of_shards_are_refused(tmp_path: Path, pattern: str) -> None:
    index(tmp_path, train=1)
    split_yaml(tmp_path, split_parts={"train": [pattern]})
    with pytest.raises(DataError, match="stands for more than 1000000 shards"):
        shards_of(tmp_path, "train")


@pytest.mark.parametrize("text", ["[]", "split_parts: 3", "no: splits", "\x00"])
def test_a_broken_split_file_is_named(tmp_path: Path, text: str) -> None:
    index(tmp_path, train=1)
    (tmp_path / ".nv-meta" / "split.yaml").write_text(text)
    with pytest.raises(DataError, match="no indexed shards"):
        split_names(tmp_path)


def test_what_is_no_index_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the Energon index cannot be read"):
        read_energon_index(tmp_path / "absent")
    with sqlite3.connect(folder / ".nv-meta" / "index.sqlite") as base:
        base.execute("ALTER TABLE samples RENAME TO others")
        base.execute("CREATE VIEW samples AS SELECT * FROM others")
    with pytest.raises(DataError, match="no tables of samples and parts"):
        read_energon_index(folder)
    (folder / "train-000000.tar.idx").unlink()
    with pytest.raises(DataError, match="train-000000.tar.idx.*energon prepare"):
        read_tar_index(folder / "train-000000.tar")
    (folder / "val-000000.tar.idx").write_bytes(b"12345")
    with pytest.raises(DataError, match="cannot be read"):
        read_tar_index(folder / "val-000000.tar")
    split_yaml(folder, split_parts={"train": ["other.tar"]})
    with pytest.raises(DataError, match="no indexed shards: 'other.tar'"):
        count_samples(folder, "train")
