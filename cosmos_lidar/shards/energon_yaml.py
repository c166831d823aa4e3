"""Energon's ``dataset.yaml`` and metadataset YAML files, read safely: what names Python code is refused.

Energon itself imports the modules and calls the functions that such files name. Here they are parsed without it; only
what describes data is taken, and anything else ends with an error that names file, key and value. Sample loaders are
taken where the caller trusts them, and imported by no function of this module.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cosmos_lidar.errors import DataError
from cosmos_lidar.files import parse_yaml, read_text
from cosmos_lidar.shards.sample_loader import KEYS, TRUST, SampleLoader, parse_loader, warn_of

MODULE = "megatron.energon"
CRUDE, IMAGES = "CrudeWebdataset", "ImageSample"
_LONGEST_SHOWN = 400  # characters of a value in a message
_TYPED = ("StandardWebdatasetFactory", "ImageWebdataset")


@dataclass(frozen=True)
class DatasetYaml:
    """Content of ``.nv-meta/dataset.yaml`` about the samples of a folder.

    Attributes:
        sample_class: ``CrudeWebdataset`` (parts as they lie in the tar) or ``ImageSample``.
        subflavors: of all samples; ``sample_type`` among them names the loader.
        field_map: field of an ``ImageSample`` -> part that holds it.
        loader: functions of the user that make samples of the parts, where they are trusted.
    """

    sample_class: str = CRUDE
    subflavors: Mapping[str, Any] = field(default_factory=dict)
    field_map: Mapping[str, str] = field(default_factory=dict)
    loader: SampleLoader | None = None


def read_dataset_yaml(path: Path, trust: bool = False) -> DatasetYaml:
    """Read the ``dataset.yaml`` of a folder of shards; nothing that it names is imported.

    Args:
        path: of the file.
        trust: accept ``sample_loader`` and ``part_filter``, which name Python code, with a warning.

    Raises:
        DataError: the file is missing, is not YAML, or holds a key or value that does not only describe data.
    """
    document = read_mapping(path)
    loader = _read_loader(path, document) if trust else None
    if document.get("__class__") == CRUDE:
        check_keys(path, "", document, ("__module__", "__class__", "subflavors"))
        check_class(path, "", document, (CRUDE,))
        return DatasetYaml(CRUDE, read_subflavors(path, "subflavors", document.get("subflavors")), loader=loader)
    check_keys(path, "", document, ("__module__", "__class__", "subflavors", "sample_type", "field_map"))
    if "__class__" in document or "__module__" in document:
        check_class(path, "", document, (CRUDE, *_TYPED))
    if document.get("__class__") != "ImageWebdataset":
        _check_sample_type(path, document.get("sample_type"))
    fields = document.get("field_map")
    if loader is not None and fields is None:
        return DatasetYaml(IMAGES, read_subflavors(path, "subflavors", document.get("subflavors")), loader=loader)
    if not isinstance(fields, dict) or not all(isinstance(part, str) for part in (*fields, *fields.values())):
        raise refused(path, "field_map", fields, "a mapping such as image: mp4")
    return DatasetYaml(IMAGES, read_subflavors(path, "subflavors", document.get("subflavors")), dict(fields))


def describe_samples(path: Path, trust: bool = False) -> DatasetYaml:
    """Read the ``dataset.yaml`` of a folder; samples are crude where ``energon prepare`` was run without one.

    Raises:
        DataError: as :func:`read_dataset_yaml`; a file of another name must be there.
    """
    return DatasetYaml() if path.name == "dataset.yaml" and not path.exists() else read_dataset_yaml(path, trust)


def _read_loader(path: Path, document: dict[str, Any]) -> SampleLoader | None:
    """Take the functions of a sample loader out of the document, with a warning that names them."""
    load, part_filter = (document.pop(key, None) for key in KEYS)
    if load is None and part_filter is None:
        return None
    if load is None:
        raise refused(path, "part_filter", part_filter, "a sample_loader with it")
    if document.get("field_map") is not None:
        raise refused(path, "field_map", document["field_map"], "sample_loader or field_map, not both")
    loader = parse_loader(path, load, part_filter)
    warn_of(loader)
    return loader


def _check_sample_type(path: Path, sample_type: Any) -> None:
    if not isinstance(sample_type, dict):
        raise refused(path, "sample_type", sample_type, f"a mapping with __module__: {MODULE}, __class__: {IMAGES}")
    check_keys(path, "sample_type.", sample_type, ("__module__", "__class__"))
    check_class(path, "sample_type.", sample_type, (IMAGES,))


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; nothing in it is imported or called.

    Raises:
        DataError: the file is missing, or not a YAML mapping with texts as keys.
    """
    wanted = "a YAML mapping, as `energon prepare` writes it"
    try:
        document = parse_yaml(read_text(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"cannot be read: {error}", file=path, wanted=wanted) from error
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise DataError("not a mapping", file=path, wanted=wanted)
    return document


def read_subflavors(path: Path, key: str, value: Any) -> dict[str, Any]:
    """Return ``subflavors``: names with texts, numbers, or lists of them.

    Raises:
        DataError: anything else in it.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise refused(path, key, value, "a mapping")
    for name, part in value.items():
        if not isinstance(name, str) or name.startswith("__"):
            raise refused(path, f"{key}.{name}", part, "names that do not begin with __")
        if not all(isinstance(item, (str, int, float, type(None))) for item in _items(part)):
            raise refused(path, f"{key}.{name}", part, "texts and numbers")
    return dict(value)


def check_keys(path: Path, prefix: str, mapping: Mapping[str, Any], valid: Iterable[str]) -> None:
    """Refuse a key that is not among ``valid``.

    Raises:
        DataError: which names file, key and value.
    """
    valid = tuple(valid)
    for key, value in mapping.items():
        if key not in valid:
            near = difflib.get_close_matches(str(key), valid, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise refused(path, f"{prefix}{key}", value, f"keys: {', '.join(valid)}{hint}")


def check_class(path: Path, prefix: str, mapping: Mapping[str, Any], valid: Iterable[str]) -> None:
    """Refuse ``__module__`` and ``__class__`` that are not Energon's own.

    Raises:
        DataError: which names file, key and value.
    """
    valid = tuple(valid)
    if mapping.get("__module__") != MODULE:
        raise refused(path, f"{prefix}__module__", mapping.get("__module__"), MODULE)
    if mapping.get("__class__") not in valid:
        raise refused(path, f"{prefix}__class__", mapping.get("__class__"), ", ".join(valid))


def refused(path: Path, key: str, value: object, valid: str) -> DataError:
    """Return the error for a key or value that is not taken."""
    shown = f"{value!r}"
    shown = shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}…"
    text = "missing" if value is None else f"{key}: {shown} is not accepted"
    wanted = f"valid: {valid} (files that name Python code are not opened)"
    return DataError(text, file=path, key=key, wanted=f"{wanted}; {TRUST}" if key in KEYS else wanted)


def _items(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else [value]
