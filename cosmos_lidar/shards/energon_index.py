"""What Energon wrote about the shards: read back, to be compared with the shards."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import struct
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from cosmos_lidar.errors import DataError
from cosmos_lidar.shards.manifest import ENERGON


@dataclass(frozen=True)
class SamplePlace:
    """Where a sample lies in its tar: the same from the tar and from the index when all is well.

    Attributes:
        key: of the sample.
        start: first byte of its first header.
        stop: one past its last byte, padding included.
        parts: part name -> (first byte, size) of the content.
    """

    key: str
    start: int
    stop: int
    parts: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class EnergonIndex:
    """Energon's view of the folder.

    Attributes:
        samples: shard -> its samples in order.
        splits: split -> its shards.
    """

    samples: dict[str, list[SamplePlace]]
    splits: dict[str, list[str]]


def read_energon_index(folder: Path) -> EnergonIndex:
    """Read what ``energon prepare`` or :func:`~cosmos_lidar.shards.manifest.index_with_energon` wrote.

    Raises:
        DataError: there is no index, or it cannot be read.
    """
    meta = folder / ENERGON
    try:
        shards = list(json.loads((meta / ".info.json").read_text(encoding="utf-8"))["shard_counts"])
        with contextlib.closing(sqlite3.connect(f"file:{meta / 'index.sqlite'}?mode=ro", uri=True)) as base:
            samples = _read_samples(base, shards)
        return EnergonIndex(samples, _read_splits(meta / "split.yaml"))
    except (OSError, sqlite3.Error, ValueError, LookupError, TypeError, yaml.YAMLError) as error:
        wanted = "run `cosmos-lidar prepare` or `energon prepare` again"
        raise DataError(f"the Energon index cannot be read: {error}", file=meta, wanted=wanted) from error


def count_samples(folder: Path, split: str) -> int:
    """Return the number of samples of a split, without opening a shard.

    Raises:
        DataError: there is no index, or no shard in that split.
    """
    meta = folder / ENERGON
    wanted = "`cosmos-lidar prepare VIDEOS FOLDER`, or `energon prepare` in the folder of tars"
    try:
        counts = json.loads((meta / ".info.json").read_text(encoding="utf-8"))["shard_counts"]
        splits = _read_splits(meta / "split.yaml")
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError) as error:
        raise DataError(f"no indexed shards: {error}", file=folder, wanted=wanted) from error
    if not splits.get(split):
        found = ", ".join(splits) or "none"
        raise DataError(f"split {split!r} is empty", file=meta / "split.yaml", wanted=f"one that has shards: {found}")
    return sum(counts[name] for name in splits[split])


def read_tar_index(tar: Path) -> list[int]:
    """Return the offsets of ``NAME.tar.idx``: where each sample starts, and where the last one ends.

    Raises:
        DataError: there is no such file, or it is cut.
    """
    path = tar.with_name(tar.name + ".idx")
    try:
        data = path.read_bytes()
        return list(struct.unpack(f"<{len(data) // 8}Q", data))
    except (OSError, struct.error) as error:
        raise DataError(f"cannot be read: {error}", file=path, wanted="run `energon prepare` again") from error


def _read_samples(base: sqlite3.Connection, shards: list[str]) -> dict[str, list[SamplePlace]]:
    parts: dict[tuple[int, int], dict[str, tuple[int, int]]] = defaultdict(dict)
    columns = "tar_file_id, sample_index, part_name, content_byte_offset, content_byte_size"
    for shard, number, name, start, size in base.execute(f"SELECT {columns} FROM sample_parts"):
        parts[shard, number][name] = (start, size)
    samples: dict[str, list[SamplePlace]] = {shard: [] for shard in shards}
    columns = "tar_file_id, sample_index, sample_key, byte_offset, byte_size"
    for shard, number, key, start, size in base.execute(
        f"SELECT {columns} FROM samples ORDER BY tar_file_id, sample_index"
    ):
        samples[shards[shard]].append(SamplePlace(key, start, start + size, parts[shard, number]))
    return samples


def _read_splits(path: Path) -> dict[str, list[str]]:
    from braceexpand import braceexpand

    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {
        split: [name for pattern in patterns for name in braceexpand(pattern)]
        for split, patterns in document["split_parts"].items()
        if patterns
    }
