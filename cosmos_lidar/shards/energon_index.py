"""Reader of Energon's index (``.nv-meta``): samples, splits and counts."""

from __future__ import annotations

import contextlib
import itertools
import math
import re
import sqlite3
import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from cosmos_lidar.errors import DataError
from cosmos_lidar.files import parse_json, parse_yaml, read_text
from cosmos_lidar.shards.manifest import ENERGON

_MOST_SHARDS = 1_000_000
_GROUP = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.(-?\d+))?")
_WANTED = "`cosmos-lidar prepare SRC FOLDER`, or `energon prepare` in the folder of tars"


@dataclass(frozen=True)
class SamplePlace:
    """Byte range of a sample in its tar; equal from the tar and from the index of an intact shard.

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
        shards = list(_read_info(meta)["shard_counts"])
        with contextlib.closing(sqlite3.connect(f"file:{meta / 'index.sqlite'}?mode=ro", uri=True)) as base:
            _expect_tables(base)
            samples = _read_samples(base, shards)
        return EnergonIndex(samples, _read_splits(meta / "split.yaml"))
    except (OSError, sqlite3.Error, ValueError, LookupError, TypeError, yaml.YAMLError) as error:
        wanted = f"`energon prepare {folder}`, which adds the index and leaves the tars as they are"
        raise DataError(f"the Energon index cannot be read: {error}", file=meta, wanted=wanted) from error


def count_samples(folder: Path, split: str, split_config: str = "split.yaml") -> int:
    """Return the number of samples of a split, without opening a shard; arguments and errors of :func:`shards_of`."""
    names = shards_of(folder, split, split_config)
    try:
        counts = _read_info(folder / ENERGON)["shard_counts"]
        return sum(counts[name] for name in names)
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError) as error:
        raise DataError(f"no indexed shards: {error}", file=folder, wanted=_WANTED) from error


def shards_of(folder: Path, split: str, split_config: str = "split.yaml") -> list[str]:
    """Return the names of the shards of a split.

    Args:
        folder: of the shards.
        split: such as ``train``.
        split_config: file in ``.nv-meta`` with the shards of each split.

    Raises:
        DataError: there is no index, or no shard in that split.
    """
    splits = _splits_of(folder, split_config)
    if split not in splits:
        found = ", ".join(splits) or "none"
        raise DataError(f"split {split!r} is empty", file=folder / ENERGON / split_config, wanted=f"valid: {found}")
    return splits[split]


def split_names(folder: Path) -> list[str]:
    """Return the splits of a folder that have shards.

    Raises:
        DataError: there is no index.
    """
    return list(_splits_of(folder, "split.yaml"))


def _splits_of(folder: Path, split_config: str) -> dict[str, list[str]]:
    try:
        return _read_splits(folder / ENERGON / split_config)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise DataError(f"no indexed shards: {error}", file=folder, wanted=_WANTED) from error


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


def _expect_tables(base: sqlite3.Connection) -> None:
    """Refuse views under the names of tables: a query in the file could yield rows without end."""
    base.execute("PRAGMA trusted_schema = OFF")
    kinds = dict(base.execute("SELECT name, type FROM sqlite_master"))
    if any(kinds.get(name) != "table" for name in ("samples", "sample_parts")):
        raise ValueError("index.sqlite has no tables of samples and parts")


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


def _read_info(meta: Path) -> dict:
    """Return Energon's count of samples by shard; older versions wrote YAML."""
    if (meta / ".info.json").is_file():
        return parse_json(read_text(meta / ".info.json"))
    return parse_yaml(read_text(meta / ".info.yaml"))


def _read_splits(path: Path) -> dict[str, list[str]]:
    """Return split -> shards, for the splits that have any; without excluded shards."""
    if path.name == "split.yaml" and not path.is_file():
        path = path.with_suffix(".json")
    document = parse_yaml(read_text(path))
    counted = itertools.count()
    excluded = {name for pattern in document.get("exclude") or () for name in _expand(pattern, counted)}
    splits = {
        split: [name for pattern in patterns for name in _expand(pattern, counted) if name not in excluded]
        for split, patterns in document["split_parts"].items()
    }
    return {split: names for split, names in splits.items() if names}


def _expand(pattern: str, counted: Iterator[int]) -> Iterator[str]:
    """Yield the names that a pattern such as ``train-{000000..000127}.tar`` stands for.

    Raises:
        ValueError: more than :data:`_MOST_SHARDS` in all; nine characters in braces are enough for a billion.
    """
    from braceexpand import braceexpand

    if _least_names(pattern) > _MOST_SHARDS:
        raise ValueError(f"{pattern!r:.80} stands for more than {_MOST_SHARDS} shards")
    for name in braceexpand(pattern):
        if next(counted) >= _MOST_SHARDS:
            raise ValueError(f"{pattern!r:.80} stands for more than {_MOST_SHARDS} shards")
        yield name


def _least_names(pattern: str) -> int:
    """Return how many names a pattern stands for at least; braces in braces are counted by their largest range."""
    groups = _GROUP.findall(pattern)
    counts = [_alternatives(group) for group in groups]
    nested = "{" in _GROUP.sub("", pattern)
    return max(counts, default=1) if nested else math.prod(counts)


def _alternatives(group: str) -> int:
    """Return the number of alternatives of the text in a pair of braces."""
    span = _RANGE.fullmatch(group)
    if span is None:
        return group.count(",") + 1
    first, last, step = span.groups()
    return abs(int(last) - int(first)) // max(abs(int(step or 1)), 1) + 1
