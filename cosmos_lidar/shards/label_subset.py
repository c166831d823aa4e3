"""Folders of points with a fraction of the labeled sweeps of a split, as label efficiency is measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from cosmos_lidar.clips.label_fractions import SweepName, labeled_sweeps
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.shards.energon_index import SamplePlace, read_energon_index, shards_of
from cosmos_lidar.shards.files import write_tar, write_text
from cosmos_lidar.shards.manifest import index_with_energon
from cosmos_lidar.shards.points import DOCUMENT, META, SAMPLE_TYPE, PointsMeta, read_meta
from cosmos_lidar.shards.sources import DataPath, Sources, resolve
from cosmos_lidar.shards.sweeps import PackedRun

_MOST_META = 1 << 20
_PER_SHARD = 64

_Placed = tuple[str, SamplePlace]


def select_labeled(path: DataPath, split: str, ratio: int) -> list[_Placed]:
    """Return shard and place of the samples that a skip ratio keeps, see :mod:`cosmos_lidar.clips.label_fractions`.

    Args:
        path: one folder of points.
        split: of it.
        ratio: above 1.

    Raises:
        DataError: the folder has no index, or sweeps of several datasets.
        UserError: several folders, or a ratio that the dataset does not have.
    """
    folder = _only_folder(resolve(path, split))
    index = read_energon_index(folder)
    places = [(shard, place) for shard in shards_of(folder, split) for place in index.samples[shard]]
    metas = list(_metas(folder, places))
    datasets = sorted({meta.dataset for meta in metas})
    if len(datasets) != 1:
        found = ", ".join(datasets) or "no sweeps"
        raise DataError(f"split {split} has sweeps of {found}", file=folder, wanted="one dataset for a skip ratio")
    names = [SweepName(meta.clip_id, meta.frame_id, meta.frame_number) for meta in metas]
    kept = labeled_sweeps(datasets[0], names, ratio)
    return [one for one, keep in zip(places, kept, strict=True) if keep]


def write_subset(path: DataPath, split: str, ratio: int, out: Path) -> None:
    """Write the samples that a skip ratio keeps as shards of the same split in a folder of their own, and index them.

    Args:
        path: one folder of points.
        split: of it.
        ratio: above 1.
        out: empty or absent; ``points.json`` is written last.

    Raises:
        DataError: as of :func:`select_labeled`, or a shard that cannot be read.
        UserError: as of :func:`select_labeled`.
    """
    folder = _only_folder(resolve(path, split))
    chosen = select_labeled(path, split, ratio)
    out.mkdir(parents=True, exist_ok=True)
    names = []
    for number, start in enumerate(range(0, len(chosen), _PER_SHARD)):
        names.append(f"{split}-{number:06d}.tar")
        write_tar(out / names[-1], (_packed(folder, *one) for one in chosen[start : start + _PER_SHARD]))
    index_with_energon(out, names, sample_type=SAMPLE_TYPE)
    document = {"version": 1, "skip_ratio": ratio, "of": str(folder), "samples": len(chosen)}
    write_text(out / DOCUMENT, json.dumps(document, indent=1) + "\n")


def read_parts(shard: Path, place: SamplePlace) -> dict[str, bytes]:
    """Return the parts of a sample by name, read at the places that the index has."""
    with shard.open("rb") as file:
        return {name: _bytes(file, *extent) for name, extent in place.parts.items()}


def _only_folder(sources: Sources) -> Path:
    sources.expect(SAMPLE_TYPE)
    part = sources.parts[0]
    if len(sources.parts) != 1 or part.bounds != (0, part.total):
        raise UserError(f"{sources.text}: a skip ratio is of one whole folder of points; prepare the sweeps together")
    return part.folder


def _metas(folder: Path, places: list[_Placed]) -> Iterator[PointsMeta]:
    for shard, place in places:
        if META not in place.parts:
            raise DataError("part missing", file=folder / shard, key=f"{place.key}.{META}", wanted="shards of points")
        first, size = place.parts[META]
        if size > _MOST_META:
            raise DataError(f"{size} bytes", file=folder / shard, key=f"{place.key}.{META}", wanted="a description")
        with (folder / shard).open("rb") as file:
            yield read_meta(_bytes(file, first, size))


def _packed(folder: Path, shard: str, place: SamplePlace) -> PackedRun:
    return PackedRun(place.key, read_parts(folder / shard, place), 1, 0)


def _bytes(file: BinaryIO, first: int, size: int) -> bytes:
    file.seek(first)
    return file.read(size)
