"""Published train, validation and test splits: names of drives, one text file ``DATASET_SPLIT.txt`` each.

A file holds one name per line, those that :attr:`~cosmos_lidar.clips.clip.Clip.clip_id` has; lines that start with
``#`` say where the list is from. Adding a split is adding a file. Waymo and DDAD keep their splits as folders or
lists beside the recordings.
"""

from __future__ import annotations

from importlib import resources

from cosmos_lidar.errors import UserError, nearest


def published_splits() -> dict[str, tuple[str, ...]]:
    """Return dataset -> names of its splits."""
    found: dict[str, tuple[str, ...]] = {}
    for entry in sorted(one.name for one in resources.files(__package__).iterdir() if one.name.endswith(".txt")):
        dataset, _, split = entry.removesuffix(".txt").partition("_")
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
    text = (resources.files(__package__) / f"{dataset}_{split}.txt").read_text(encoding="utf-8")
    lines = (line.strip() for line in text.splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))
