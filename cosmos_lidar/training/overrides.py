"""``key=value`` on the command line: typed, checked, and a hint where a key does not exist."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TypeVar, get_type_hints

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cosmos_lidar.errors import DataError, UserError, nearest
from cosmos_lidar.files import atomic_write, read_yaml

T = TypeVar("T")
_WANTED = "the config.yaml of a run folder"


def apply_overrides(run: T, overrides: Iterable[str]) -> T:
    """Return a copy of the dataclass tree ``run`` with ``key=value`` texts applied, such as ``"optim.lr=1e-4"``.

    Raises:
        UserError: a text without ``=``, a key that does not exist (the nearest one is named), or a value of another
            type (key, value and type are named).
    """
    config = OmegaConf.structured(run)
    for text in overrides:
        key, separator, value = text.partition("=")
        if not separator:
            raise UserError(f"{text!r} is no option: write key=value, such as trainer.max_steps=100")
        _set(config, key.strip(), value, where="")
    return OmegaConf.to_object(config)


def load_config(kind: type[T], path: Path) -> T:
    """Return the dataclass tree of type ``kind`` that :func:`save_config` wrote to ``path``.

    Raises:
        DataError: the file is missing or no YAML mapping.
        UserError: a key does not exist or has a value of another type.
    """
    config = OmegaConf.structured(kind())
    for key, value in _leaves(read_yaml(path, _WANTED)):
        _set(config, key, value, where=f" in {path}")
    return OmegaConf.to_object(config)


def read_key(path: Path, key: str) -> object:
    """Return one top-level value of a configuration file.

    Raises:
        DataError: the file cannot be read, or has no such key.
    """
    document = read_yaml(path, _WANTED)
    if key not in document:
        raise DataError("key missing", file=path, key=key, wanted=_WANTED)
    return document[key]


def save_config(run: object, path: Path) -> None:
    """Write the dataclass tree as YAML, whole or not at all."""
    with atomic_write(path, sync=True) as partial:
        partial.write_text(to_yaml(run), encoding="utf-8")


def to_yaml(run: object) -> str:
    """Return the dataclass tree as YAML text."""
    return OmegaConf.to_yaml(OmegaConf.structured(run))


def describe(run: object, prefix: str = "") -> Iterator[tuple[str, object, str]]:
    """Yield (key, default, meaning) of every field of the tree, in the order of declaration."""
    for field in fields(run):
        key, value = prefix + field.name, getattr(run, field.name)
        if is_dataclass(value):
            yield from describe(value, f"{key}.")
        else:
            yield key, value, field.metadata.get("help", "")


def _leaves(document: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _set(config: DictConfig, key: str, value: object, where: str) -> None:
    known = {name: kind for name, kind in _field_types(OmegaConf.get_type(config), "")}
    if key not in known:
        raise UserError(f"unknown option {key!r}{where}; the nearest one is {nearest(key, known)!r} (--help lists all)")
    kind = known[key]
    try:
        parsed = yaml.safe_load(value) if isinstance(value, str) and kind != "str" else value
        if isinstance(parsed, (list, tuple)) != kind.startswith("list") and parsed is not None:
            raise ValueError
        if isinstance(parsed, bool) != (kind == "bool"):
            raise ValueError
        OmegaConf.update(config, key, parsed)
    except (OmegaConfBaseException, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{key}={value}{where} is of the wrong type: {kind} is wanted") from error


def _field_types(kind: type, prefix: str) -> Iterator[tuple[str, str]]:
    types = get_type_hints(kind)
    for field in fields(kind):
        if is_dataclass(types[field.name]):
            yield from _field_types(types[field.name], f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, str(field.type)
