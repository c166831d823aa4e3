"""Energon metadatasets: a YAML file that blends datasets, flattened to folders with weights or repetitions.

Both versions are read (``Metadataset``, ``MetadatasetV2``), nested ones too. The file is parsed here and never by
Energon, which would import what it names; joins are refused for that reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from cosmos_lidar.errors import DataError
from cosmos_lidar.shards.energon_yaml import check_class, check_keys, read_mapping, read_subflavors, refused

Blend = Literal["none", "weights", "repetitions"]
SUFFIXES = (".yaml", ".yml")
_REFERENCE = ("path", "split_part", "subflavors", "shuffle_over_epochs_multiplier", "dataset_config", "split_config")
_V1, _V2 = "Metadataset", "MetadatasetV2"
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_DEEPEST = 16


@dataclass(frozen=True)
class Subset:
    """A range of the samples of a folder: ``first`` to ``stop`` (None: the end), and of those a share.

    Attributes:
        first: number of the first sample.
        stop: one past the last one.
        share: (start, stop) of what is left, from 0 to 1.
    """

    first: int = 0
    stop: int | None = None
    share: tuple[float, float] = (0.0, 1.0)

    def bounds(self, total: int) -> tuple[int, int]:
        """Return the first of ``total`` samples, and one past the last, as Energon rounds."""
        left = (total if self.stop is None else self.stop) - self.first
        return self.first + int(left * self.share[0]), self.first + int(left * self.share[1])


@dataclass(frozen=True)
class Reference:
    """One folder that a metadataset names.

    Attributes:
        path: of the folder.
        split: that is read of it.
        amount: weight, or repetitions per epoch; 1 where nothing is said.
        subflavors: that replace those of the folder.
        epochs: epochs over which slices of shards are shuffled together; None: not at all, -1: with replacement.
        dataset_config: file in ``.nv-meta``.
        split_config: file in ``.nv-meta``.
        subset: range of its samples, or None for all.
        named_in: the YAML file, for messages.
    """

    path: Path
    split: str
    amount: float = 1.0
    subflavors: Mapping[str, Any] = field(default_factory=dict)
    epochs: int | None = 1
    dataset_config: str = "dataset.yaml"
    split_config: str = "split.yaml"
    subset: Subset | None = None
    named_in: Path | None = None


def is_remote(text: str) -> bool:
    """Return whether a text is a URL such as ``s3://bucket/folder``."""
    return _URL.match(text) is not None


def splits_of(path: Path) -> list[str]:
    """Return the names of the splits of a metadataset; raises as :func:`read_metadataset`."""
    return list(_read_splits(path)[1])


def read_metadataset(path: Path, split: str, depth: int = 0) -> tuple[Blend, list[Reference]]:
    """Return the folders that a split of a metadataset blends, and how.

    Args:
        path: the YAML file; paths in it are relative to its folder.
        split: such as ``train``.
        depth: of nesting.

    Raises:
        DataError: not a metadataset, no such split, a remote path, a key or value that is not accepted (file, key and
            value are named), or files that name each other in a circle.
    """
    if depth > _DEEPEST:
        raise DataError(f"metadatasets are nested more than {_DEEPEST} deep", file=path, wanted="files without circles")
    version, splits = _read_splits(path)
    if split not in splits:
        raise DataError(f"no split {split!r}", file=path, key="splits", wanted=f"valid: {', '.join(splits)}")
    key, found = f"splits.{split}", splits[split]
    if version == _V1:
        check_keys(path, f"{key}.", found, ("datasets",))
        return _read_blend(path, f"{key}.datasets", found.get("datasets"), "weight", split, depth, None)
    for name, amount in (("blend", "weight"), ("blend_epochized", "repetitions")):
        if name in found:
            check_keys(path, f"{key}.", found, (name, "subset"))
            return _read_blend(path, f"{key}.{name}", found[name], amount, split, depth, found.get("subset"))
    return _read_reference(path, key, found, (*_REFERENCE, "subset"), split, depth)


def _read_splits(path: Path) -> tuple[str, dict[str, Any]]:
    document = read_mapping(path)
    check_keys(path, "", document, ("__module__", "__class__", "splits"))
    if "__class__" in document or "__module__" in document:
        check_class(path, "", document, (_V1, _V2))
    splits = document.get("splits")
    if not isinstance(splits, dict) or not all(isinstance(part, dict) for part in splits.values()):
        raise refused(path, "splits", splits, "a mapping such as train: {blend: [...]}")
    return document.get("__class__", _V1), splits


def _read_blend(
    path: Path, key: str, found: Any, amount: str, split: str, depth: int, subset: Any
) -> tuple[Blend, list[Reference]]:
    if not isinstance(found, list) or not found or not all(isinstance(part, dict) for part in found):
        raise refused(path, key, found, f"a list such as - {{path: folder, {amount}: 1}}")
    blend: Blend = "weights" if amount == "weight" else "repetitions"
    outer = _read_subset(path, f"{key}.subset", subset)
    valid = (*_REFERENCE, amount, "subset") if key.rpartition(".")[2] != "datasets" else (*_REFERENCE, amount)
    parts: list[tuple[float, list[Reference]]] = []
    for number, part in enumerate(found):
        where = f"{key}[{number}]"
        size = _read_amount(path, f"{where}.{amount}", part.get(amount, 1))
        inner, references = _read_reference(path, where, part, valid, split, depth)
        if inner not in ("none", blend):
            problem = f"{part['path']} blends by {inner}, this list by {blend}"
            raise DataError(problem, file=path, key=where, wanted="valid: one of them, in all nested files")
        parts.append((size, [replace(one, subset=_narrow(path, where, one.subset, outer)) for one in references]))
    total = sum(size for size, _ in parts) if blend == "weights" else 1.0
    return blend, [replace(one, amount=one.amount * size / total) for size, many in parts for one in many]


def _read_reference(
    path: Path, key: str, found: Mapping[str, Any], valid: tuple[str, ...], split: str, depth: int
) -> tuple[Blend, list[Reference]]:
    if "join" in found or "joiner" in found:
        raise DataError("a join names Python code", file=path, key=f"{key}.join", wanted=f"valid: {', '.join(valid)}")
    check_keys(path, f"{key}.", found, valid)
    target = _read_path(path, f"{key}.path", found.get("path"))
    reference = Reference(
        target,
        _read_name(path, f"{key}.split_part", found.get("split_part"), split),
        subflavors=read_subflavors(path, f"{key}.subflavors", found.get("subflavors")),
        epochs=_read_epochs(path, key, found),
        dataset_config=_read_name(path, f"{key}.dataset_config", found.get("dataset_config"), "dataset.yaml"),
        split_config=_read_name(path, f"{key}.split_config", found.get("split_config"), "split.yaml"),
        subset=_read_subset(path, f"{key}.subset", found.get("subset")),
        named_in=path,
    )
    if target.suffix not in SUFFIXES:
        return "none", [reference]
    for name in ("dataset_config", "split_config"):
        if name in found:
            raise refused(path, f"{key}.{name}", found[name], "folders of shards only, not nested metadatasets")
    blend, inner = read_metadataset(target, reference.split, depth + 1)
    return blend, [_inherit(path, key, reference, one) for one in inner]


def _inherit(path: Path, key: str, outer: Reference, inner: Reference) -> Reference:
    """Return the entry of a nested metadataset for a folder, as the reference to that metadataset changes it."""
    epochs: int | None = None
    if outer.epochs is not None and inner.epochs is not None:
        epochs = -1 if -1 in (outer.epochs, inner.epochs) else outer.epochs * inner.epochs
    return replace(
        inner,
        subflavors={**inner.subflavors, **outer.subflavors},
        epochs=epochs,
        subset=_narrow(path, key, inner.subset, outer.subset),
    )


def _narrow(path: Path, key: str, inner: Subset | None, outer: Subset | None) -> Subset | None:
    """Return the outer share of the inner range."""
    if outer is None:
        return inner
    if (outer.first, outer.stop) != (0, None):
        raise DataError("numbered samples of a blend", file=path, key=f"{key}.subset", wanted="valid: shares, as 50%")
    if inner is None:
        return outer
    start, width = inner.share[0], inner.share[1] - inner.share[0]
    return replace(inner, share=(start + outer.share[0] * width, start + outer.share[1] * width))


def _read_path(path: Path, key: str, value: Any) -> Path:
    if not isinstance(value, str) or not value:
        raise refused(path, key, value, "a folder of shards, or a metadataset YAML")
    if is_remote(value):
        raise DataError(f"remote path {value}", file=path, key=key, wanted="a local path: remote data is not read yet")
    return path.parent / value


def _read_name(path: Path, key: str, value: Any, default: str) -> str:
    if value is None:
        return default
    if not isinstance(value, str) or "/" in value or not value:
        raise refused(path, key, value, "a name without slashes")
    return value


def _read_amount(path: Path, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise refused(path, key, value, "a number above 0")
    return value


def _read_epochs(path: Path, key: str, found: Mapping[str, Any]) -> int | None:
    value = found.get("shuffle_over_epochs_multiplier", 1)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or (value < 1 and value != -1)):
        raise refused(path, f"{key}.shuffle_over_epochs_multiplier", value, "null, -1, or an int of at least 1")
    return value


def _read_subset(path: Path, key: str, value: Any) -> Subset | None:
    if value is None:
        return None
    found = value.get("range") if isinstance(value, dict) and set(value) == {"range"} else None
    bounds = list(_read_bounds(found)) if isinstance(found, list) and len(found) == 2 else []
    if len(bounds) == 2 and None not in bounds[:1]:
        first, stop = bounds
        if isinstance(first, float) and isinstance(stop, float) and 0 <= first <= stop <= 1:
            return Subset(share=(first, stop))
        if type(first) is int and (stop is None or (type(stop) is int and 0 <= first <= stop)):
            return Subset(first, stop)
    raise refused(path, key, value, "{range: [25%, 75%]}, {range: [100, 200]}, {range: [100, end]}")


def _read_bounds(found: list[Any]) -> Iterator[float | int | None]:
    for value in found:
        if isinstance(value, str) and re.fullmatch(r"\s*\d+(\.\d*)?%", value):
            yield float(value.strip()[:-1]) / 100
        elif value == "end":
            yield None
        elif isinstance(value, int) and not isinstance(value, bool):
            yield value
