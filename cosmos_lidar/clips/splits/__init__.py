"""Published train, validation and test splits: names of drives, one text file ``DATASET_SPLIT.txt`` each.

A file holds one name per line, as published; :attr:`~cosmos_lidar.clips.clip.Clip.clip_id` has ``_`` where the name has
dots. Lines that start with ``#`` have its origin. Adding a split is adding a file. Datasets that keep their split as
folders, as Waymo does, have a file ``DATASET.folders`` instead: a name of a folder and a split per line. A file
``DATASET_VARIANT.lists`` makes splits of such lists: a list and a split per line. DDAD keeps its splits as lists beside
the recordings, nuPlan in a YAML file of its tools (:mod:`cosmos_lidar.clips.split_files`).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from cosmos_lidar.clips.files import clean_id
from cosmos_lidar.clips.split_files import is_split_file, read_split_file
from cosmos_lidar.errors import UserError, nearest

SPLITS = ("train", "val", "test")


def published_splits() -> dict[str, tuple[str, ...]]:
    """Return dataset -> names of its splits."""
    found: dict[str, tuple[str, ...]] = {}
    for entry in _files(".txt"):
        dataset, _, split = entry.partition("_")
        found[dataset] = (*found.get(dataset, ()), split)
    return found


def published_split(dataset: str, split: str) -> tuple[str, ...]:
    """Return the names of the drives, scenes or logs of a split, in the order of the published list.

    Args:
        dataset: name of a reader, such as ``nuscenes``.
        split: such as ``train``, ``val``, ``test``, ``mini_val``.

    Raises:
        UserError: no such split; the message has those that there are.
    """
    known = published_splits()
    if dataset not in known:
        near = nearest(dataset, known)
        raise UserError(f"no published split of {dataset!r}: known are {', '.join(known)}, the nearest is {near}")
    if split not in known[dataset]:
        raise UserError(f"no split {split!r} of {dataset}: known are {', '.join(known[dataset])}")
    return tuple(_lines(f"{dataset}_{split}.txt"))


@dataclass(frozen=True)
class PublishedSplit:
    """The split of a dataset into train, val and test, as it was published.

    Attributes:
        name: of the split.
        names: clip id -> train, val or test.
        folders: name of a folder -> train, val or test.
    """

    name: str
    names: dict[str, str]
    folders: dict[str, str]

    def of(self, clip_id: str, source: Path) -> str | None:
        """Return the split of a clip, by its id or by the nearest folder above its files; None where it is in none."""
        if not self.folders:
            return self.names.get(clip_id)
        place = source.resolve()
        return next((self.folders[name] for name in (place.name, *(one.name for one in place.parents))
                     if name in self.folders), None)  # fmt: skip


def split_names() -> tuple[str, ...]:
    """Return the names that :func:`open_published` takes: datasets, and ``DATASET_VARIANT`` such as nuscenes_mini."""
    ends = [f"_{split}" for split in SPLITS]
    listed = {entry.removesuffix(end) for entry in _files(".txt") for end in ends if entry.endswith(end)}
    return tuple(sorted(listed | set(_files(".folders")) | set(_files(".lists"))))


def open_published(name: str) -> PublishedSplit:
    """Return a published split by its name.

    Args:
        name: a dataset, a variant such as ``nuscenes_mini``, ``nuplan_navsim``, or a split file of nuPlan (``.yaml``).

    Raises:
        UserError: no such split; the message has those that there are.
        DataError: a split file that is none.
    """
    if is_split_file(name):
        return PublishedSplit(name, {clean_id(log): split for log, split in read_split_file(Path(name)).items()}, {})
    if name not in split_names():
        near = nearest(name, split_names())
        known = ", ".join(split_names())
        raise UserError(f"no published split {name!r}: known are {known}, the nearest is {near}")
    if name in _files(".folders"):
        folders = dict(line.split() for line in _lines(f"{name}.folders"))
        return PublishedSplit(name, {}, folders)
    return PublishedSplit(name, {clean_id(clip): split for split, file in _listed(name) for clip in _lines(file)}, {})


def _listed(name: str) -> list[tuple[str, str]]:
    """Return split and file of each list of a published split."""
    if name in _files(".lists"):
        pairs = (line.split() for line in _lines(f"{name}.lists"))
        return [(split, f"{name.partition('_')[0]}_{listed}.txt") for listed, split in pairs]
    return [(split, f"{name}_{split}.txt") for split in SPLITS if f"{name}_{split}" in _files(".txt")]


def _files(suffix: str) -> list[str]:
    entries = (entry.name for entry in resources.files(__package__).iterdir())
    return sorted(name.removesuffix(suffix) for name in entries if name.endswith(suffix))


def _lines(name: str) -> list[str]:
    text = (resources.files(__package__) / name).read_text(encoding="utf-8")
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]
