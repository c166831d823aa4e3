"""``data.path`` resolved to folders of shards: one folder, several, weighted ones, or an Energon metadataset (blend).

============================  ==========================================================================
``shards``                    one folder
``a,b`` or ``[a,b]``          several: each sample once per epoch, so folders count by their samples
``0.7,a,0.3,b``               several with weights: 7 of 10 samples come from ``a``, whatever its size
``mix.yaml``                  an Energon metadataset: ``blend`` with weights, ``blend_epochized`` with
                              repetitions, nested ones, other splits for each part
============================  ==========================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.log import logger
from cosmos_lidar.shards.energon_index import count_samples, shards_of
from cosmos_lidar.shards.energon_yaml import CRUDE, DatasetYaml, describe_samples
from cosmos_lidar.shards.manifest import ENERGON, MANIFEST, is_unfinished
from cosmos_lidar.shards.metadataset import SUFFIXES, Blend, Reference, is_remote, read_metadataset, splits_of

_OUR_SHARD = re.compile(r"(train|val|test)-\d{6}\.tar")

DataPath = str | Path | Sequence[str | Path]
_MADE_BY = {  # sample type -> command
    "lidar": "cosmos-lidar prepare SRC OUT",
    "points": "cosmos-lidar prepare SRC OUT --task points",
    "video": "cosmos-lidar prepare SRC OUT --videos",
    "views": "cosmos-lidar prepare SRC OUT --views all",
    "multiview": "cosmos-lidar prepare SRC OUT --task multiview",
    "latents": "cosmos-lidar encode-views` or `encode-clips",
}


@dataclass(frozen=True)
class Part:
    """One folder of a dataset.

    Attributes:
        folder: of shards.
        reference: which split of it is read, how often, and which range.
        yaml: content of its ``dataset.yaml``.
        total: samples of the split.
    """

    folder: Path
    reference: Reference
    yaml: DatasetYaml
    total: int

    @property
    def bounds(self) -> tuple[int, int]:
        """The first sample of the split that is read, and one past the last."""
        subset = self.reference.subset
        return (0, self.total) if subset is None else subset.bounds(self.total)

    @property
    def samples(self) -> int:
        """Samples that are read."""
        first, stop = self.bounds
        return stop - first

    @property
    def sample_type(self) -> str | None:
        """Name of the loader that reads the samples, or None where it is not recorded."""
        return {**self.yaml.subflavors, **self.reference.subflavors}.get("sample_type")

    def loaded(self, key: str, parts: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parts of a sample as a cooker gets them: as in the tar, or made of those by the user's loader.

        Raises:
            DataError: the user's loader fails.
        """
        loader = self.yaml.loader
        if loader is None:
            return dict(parts)
        return loader({"__key__": key, **{part: content for part, content in parts.items() if loader.reads(part)}})

    @property
    def ours(self) -> bool:
        """Whether ``cosmos-lidar prepare`` wrote a manifest here."""
        return (self.folder / MANIFEST).is_file()


@dataclass(frozen=True)
class Sources:
    """The folders that one split of ``data.path`` is read from.

    Attributes:
        text: ``data.path``, for messages.
        split: such as ``train``.
        blend: by ``weights``, or by ``repetitions`` per epoch; ``none`` for one folder.
        parts: at least one.
    """

    text: str
    split: str
    blend: Blend
    parts: tuple[Part, ...]

    @property
    def samples(self) -> int:
        """Samples in all folders, each counted once."""
        return sum(part.samples for part in self.parts)

    @property
    def folders(self) -> list[Path]:
        """The folders, each once."""
        return list(dict.fromkeys(part.folder for part in self.parts))

    def expect(self, sample_type: str, typed: Iterable[str] = ()) -> Sources:
        """Return self where all folders hold samples of a type; folders that do not say what they hold are trusted.

        Args:
            sample_type: name of the loader, as ``dataset.yaml`` has it.
            typed: sample classes of Energon that are read as well, such as ``ImageSample``.

        Raises:
            DataError: a folder holds something else.
        """
        typed = tuple(typed)
        for part in self.parts:
            found = part.sample_type if part.yaml.sample_class == CRUDE else part.yaml.sample_class
            if found is None:
                logger.info("%s: dataset.yaml has no sample_type; reading %r samples", part.folder, sample_type)
            elif found not in (sample_type, *typed):
                made = f", as `{_MADE_BY[sample_type]}` writes them" if sample_type in _MADE_BY else ""
                wanted = f"valid: {', '.join((sample_type, *typed))}{made}"
                where = part.folder / ENERGON / part.reference.dataset_config
                raise DataError(f"samples of type {found!r}", file=where, key="sample_type", wanted=wanted)
        return self


def resolve(path: DataPath, split: str, trust: bool = False) -> Sources:
    """Return the folders that ``data.path`` names, checked: they are there, indexed, and name no code.

    Args:
        path: the text, one path, or a list of paths.
        split: such as ``train``.
        trust: accept sample loaders, Python code of the folders; see :mod:`cosmos_lidar.shards.sample_loader`.

    Raises:
        DataError: a folder is missing, not indexed, or without that split; a YAML file that is not accepted.
        UserError: weights for some folders only, or a remote path.
    """
    text, entries = _entries(path)
    weighted = any(weight is not None for weight, _ in entries)
    blend: Blend = "weights" if weighted else "repetitions" if len(entries) > 1 else "none"
    references: list[Reference] = []
    total = sum(weight or 0.0 for weight, _ in entries)
    for weight, entry in entries:
        inner, found = _references(entry, split)
        if len(entries) == 1 and not weighted:
            blend = inner
        elif inner not in ("none", blend):
            raise UserError(f"{entry} blends by {inner}, data.path={text} by {blend}: use one of them in all files")
        scale = (weight or 0.0) / total if weighted else 1.0
        references += [replace(one, amount=one.amount * scale) for one in found]
    parts = tuple(_open_part(one, trust) for one in references)
    return Sources(text, split, blend, parts)


def folders_of(path: DataPath) -> list[Path]:
    """Return the folders that ``data.path`` names, for all splits, each once; they need not be there.

    Raises:
        DataError: a metadataset that is not accepted.
        UserError: weights for some folders only, or a remote path.
    """
    found: dict[Path, None] = {}
    for _, entry in _entries(path)[1]:
        splits = splits_of(entry) if entry.suffix in SUFFIXES else [""]
        for split in splits:
            found |= dict.fromkeys(one.path for one in _references(entry, split)[1])
    return list(found)


def entries_of(path: DataPath) -> list[Path]:
    """Return the folders and metadatasets that the text itself names; raises as :func:`folders_of`."""
    return [entry for _, entry in _entries(path)[1]]


def with_entries(path: DataPath, replaced: Mapping[Path, Path]) -> DataPath:
    """Return ``data.path`` with other folders in the place of some; weights stay.

    Args:
        path: the text, one path, or a list of paths.
        replaced: entry, as :func:`entries_of` returns it -> folder.
    """
    pairs = [(weight, replaced.get(entry, entry)) for weight, entry in _entries(path)[1]]
    return [item for weight, entry in pairs for item in ([] if weight is None else [f"{weight:g}"]) + [str(entry)]]


def _entries(path: DataPath) -> tuple[str, list[tuple[float | None, Path]]]:
    """Return the text, and the paths in it with their weights."""
    if isinstance(path, (str, Path)):
        text = str(path)
        items = [text] if Path(text).exists() else _split_list(text)
    else:
        items = [str(item) for item in path]
        text = ",".join(items)
    if not items or not all(items):
        raise UserError(f"data.path={text!r}: expected a folder of shards, several (a,b), or a metadataset YAML")
    numbers = [_number(item) for item in items]
    if len(items) % 2 == 0 and all(number is not None for number in numbers[::2]):
        pairs = [(number, item) for number, item in zip(numbers[::2], items[1::2], strict=True)]
    else:
        pairs = [(None, item) for item in items]
    for weight, item in pairs:
        if is_remote(item):
            raise UserError(f"data.path={text}: {item} is a remote path, which is not read yet: copy or mount it")
        if weight is not None and not 0 < weight < float("inf"):
            raise UserError(f"data.path={text}: weight {weight:g} of {item}: expected a number above 0")
    if any(number is not None for number in numbers) and pairs[0][0] is None:
        raise UserError(f"data.path={text}: expected a weight before each folder, or none (0.7,a,0.3,b)")
    return text, [(weight, Path(item)) for weight, item in pairs]


def _split_list(text: str) -> list[str]:
    inner = text.strip()
    if inner.startswith("[") and inner.endswith("]"):
        inner = inner[1:-1]
    return [item.strip().strip("\"'") for item in inner.split(",")]


def _number(item: str) -> float | None:
    """Return the weight that a text is, unless a folder has that name."""
    try:
        return None if Path(item).exists() else float(item)
    except ValueError:
        return None


def _references(entry: Path, split: str) -> tuple[Blend, list[Reference]]:
    if entry.suffix in SUFFIXES:
        return read_metadataset(entry, split)
    return "none", [Reference(entry, split)]


def _open_part(reference: Reference, trust: bool) -> Part:
    folder = reference.path
    _expect_index(folder, reference)
    yaml = describe_samples(folder / ENERGON / reference.dataset_config, trust)
    _warn_of_mixed_splits(folder, reference)
    part = Part(folder, reference, yaml, count_samples(folder, reference.split, reference.split_config))
    first, stop = part.bounds
    if not 0 <= first < stop <= part.total:
        problem = f"samples {first} to {stop} of the {part.total} in {folder}"
        raise DataError(problem, file=reference.named_in, key="subset", wanted="at least one sample that is there")
    return part


def _expect_index(folder: Path, reference: Reference) -> None:
    """Refuse what is not a folder with Energon's index, and say what is missing."""
    where = f" (named in {reference.named_in})" if reference.named_in else ""
    prepare = f"`cosmos-lidar prepare SRC {folder}`, or `energon prepare` in a folder of tars"
    if not folder.is_dir():
        raise DataError(f"no such folder{where}", file=folder, wanted=prepare)
    if is_unfinished(folder):
        problem = f"`cosmos-lidar prepare` or `encode-views` was not finished here{where}"
        raise DataError(problem, file=folder, wanted="run the same command again")
    if (folder / ENERGON).is_dir():
        return
    if (folder / MANIFEST).is_file():
        wanted = "run `cosmos-lidar prepare` again, or `energon prepare --split-parts 'train:train-.*' …`"
        raise DataError(f"the shards are not indexed{where}", file=folder / ENERGON, wanted=wanted)
    raise DataError(f"no indexed shards{where}", file=folder, wanted=prepare)


def _warn_of_mixed_splits(folder: Path, reference: Reference) -> None:
    """Warn where ``energon prepare`` moved shards that `cosmos-lidar prepare` wrote for another split into this one."""
    named = ((name, _OUR_SHARD.fullmatch(name)) for name in shards_of(folder, reference.split, reference.split_config))
    foreign = [name for name, match in named if match and match[1] != reference.split]
    if foreign:
        text = (
            "%s: split %s has shards written for another split: %s%s; `energon prepare --split-parts` keeps them apart"
        )
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        logger.warning(text, folder, reference.split, ", ".join(foreign[:3]), more)


def describe(sources: Sources) -> Iterator[str]:
    """Yield a line of text for each folder: its samples, and how often they are drawn."""
    for part in sources.parts:
        amount = f"{part.reference.amount:.4g}"
        drawn = {"none": "", "weights": f", weight {amount}", "repetitions": f", {amount} times per epoch"}
        yield f"{part.folder}: {part.samples} samples of split {part.reference.split}{drawn[sources.blend]}"
