"""Compatibility check of several folders: can they be trained on together?"""

from __future__ import annotations

from collections.abc import Callable

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.shards.energon_index import split_names
from cosmos_lidar.shards.facts import read_sweep_facts
from cosmos_lidar.shards.latents import read_latents_facts
from cosmos_lidar.shards.metadataset import SUFFIXES, splits_of
from cosmos_lidar.shards.sources import DataPath, Sources, entries_of, resolve
from cosmos_lidar.shards.sweeps import SAMPLE_TYPE
from cosmos_lidar.shards.views import read_views_facts

_READERS: dict[str, Callable[[Sources], object]] = {
    SAMPLE_TYPE: read_sweep_facts,
    "latents": read_latents_facts,
    "views": read_views_facts,
}


def check_mix(path: DataPath, trust: bool = False) -> list[str]:
    """Return why the folders of ``data.path`` cannot be read together: one text for each split, none where all fit.

    Args:
        path: as ``data.path``.
        trust: run sample loaders of the folders.

    Raises:
        DataError: a metadataset that is not accepted.
        UserError: a text that names no folders.
    """
    problems = []
    for split in _splits(path):
        try:
            sources = resolve(path, split, trust)
            kinds = {part.sample_type or part.yaml.sample_class for part in sources.parts}
            if len(kinds) > 1:
                problems.append(f"split {split}: samples of several types: {', '.join(sorted(kinds))}")
            elif (kind := kinds.pop()) in _READERS:
                _READERS[kind](sources)
        except UserError as error:
            problems.append(f"split {split}: {error}")
    return problems


def _splits(path: DataPath) -> list[str]:
    """Return the splits that any of the folders or files has."""
    found: dict[str, None] = {}
    for entry in entries_of(path):
        try:
            found |= dict.fromkeys(splits_of(entry) if entry.suffix in SUFFIXES else split_names(entry))
        except DataError:
            continue  # reported by the check of that folder
    return list(found)
