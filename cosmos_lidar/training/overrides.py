"""Options as ``key=value`` text: typed, checked against the configuration's annotations, with a hint for wrong keys.

A configuration is a tree of dataclasses whose leaves are annotated ``bool``, ``int``, ``float``, ``str``,
``Literal[…]``, ``list[…]``, or a union of these and None.
"""

from __future__ import annotations

import copy
import difflib
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from cosmos_lidar.errors import DataError, UserError, nearest
from cosmos_lidar.files import atomic_write, read_yaml
from cosmos_lidar.training.option_names import FORMER
from cosmos_lidar.weights import CONFIG, config_of

T = TypeVar("T")
_WANTED = "the config.yaml of a run folder"


def apply_overrides(run: T, overrides: Iterable[str]) -> T:
    """Return a copy of the dataclass tree ``run`` with ``key=value`` texts applied, such as ``"optim.lr=1e-4"``.

    Raises:
        UserError: a text without ``=``, a key that does not exist (the nearest one is named), or a value of another
            type (key, value and type are named).
    """
    run = copy.deepcopy(run)
    for text in overrides:
        key, separator, value = text.partition("=")
        if not separator:
            raise UserError(f"{text!r}: expected key=value, such as trainer.max_steps=100")
        set_option(run, key.strip(), value)
    return run


def load_config(kind: type[T], path: Path, aliases: Mapping[str, str] | None = None) -> T:
    """Return the dataclass tree of type ``kind`` that :func:`save_config` wrote to ``path``.

    Args:
        kind: type of the configuration.
        path: YAML file, or the ``config.json`` of a model, which has the options under ``run``.
        aliases: further names of keys -> ours, beside those of :data:`~cosmos_lidar.training.option_names.FORMER`.

    Raises:
        DataError: the file is missing or no YAML mapping, or has the options of another family.
        UserError: a key does not exist or has a value of another type.
    """
    run, names, options = kind(), {**FORMER, **(aliases or {})}, _options_in(path)
    known, own, found = option_types(kind), getattr(run, "family", ""), options.get("family")
    for key, value in leaves(options):
        name = names.get(key, key)
        if name not in known and found != own and isinstance(found, str) and own:
            raise DataError(f"options of {found:.60}", file=path, key="family", wanted=f"those of a run of {own}")
        set_option(run, name, value, where=f" in {path}")
    return run


def config_beside(checkpoint: Path) -> Path | None:
    """Return the ``config.yaml`` of the run beside a checkpoint, or a model's ``config.json`` with a run's options."""
    beside = checkpoint.with_name("config.yaml")
    if beside.is_file():
        return beside
    return checkpoint.with_name(CONFIG) if "run" in config_of(checkpoint) else None


def _options_in(path: Path) -> dict[Any, Any]:
    if path.name != CONFIG:
        return read_yaml(path, _WANTED)
    options = config_of(path).get("run")
    if not isinstance(options, dict):
        raise DataError("no options of a training run", file=path, key="run", wanted=_WANTED)
    return options


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
    """Write the dataclass tree as YAML; the file is replaced atomically."""
    with atomic_write(path, sync=True) as partial:
        partial.write_text(to_yaml(run), encoding="utf-8")


def to_yaml(run: Any) -> str:
    """Return the dataclass tree as YAML text."""
    return yaml.safe_dump(asdict(run), sort_keys=False, allow_unicode=True, default_flow_style=False)


def without_interpolation(value: Any) -> Any:
    """Return a tree of options for NeMo's own copy, in which ``${`` is written ``$ {``.

    NeMo has OmegaConf resolve its copy, several times over, so that escaping does not last. A run itself takes ``${…}``
    in a path as it stands.
    """
    if isinstance(value, dict):
        return {key: without_interpolation(one) for key, one in value.items()}
    if isinstance(value, list):
        return [without_interpolation(one) for one in value]
    return value.replace("${", "$ {") if isinstance(value, str) else value


def describe(run: object, prefix: str = "") -> Iterator[tuple[str, object, str]]:
    """Yield (key, default, meaning) of every option of the tree, in the order of declaration."""
    for field in fields(run):  # type: ignore[arg-type]
        key, value = prefix + field.name, getattr(run, field.name)
        if is_dataclass(value):
            yield from describe(value, f"{key}.")
        else:
            yield key, value, field.metadata.get("help", "")


def option_types(kind: type) -> Mapping[str, Any]:
    """Return the annotation of every option of a configuration type, by key."""
    return dict(_annotations(kind))


def choices(annotation: Any) -> tuple[Any, ...]:
    """Return the values that an option can take, where its annotation lists them; else ()."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        listed = [(True, False) if part is bool else choices(part) for part in get_args(annotation)]
        return tuple(value for part in listed for value in part) if all(listed) else ()
    return ()


def get_option(run: object, key: str) -> Any:
    """Return the value of an option by its dotted key."""
    for name in key.split("."):
        run = getattr(run, name)
    return run


def set_option(run: object, key: str, value: object, where: str = "") -> None:
    """Set an option of the tree ``run`` in place.

    Args:
        run: a dataclass tree.
        key: dotted.
        value: text, as on a command line, or a value of YAML.
        where: added to messages, such as `` in FILE``.

    Raises:
        UserError: no such key, or a value of another type.
    """
    known = option_types(type(run))
    if key not in known:
        raise UserError(f"unknown option {key!r}{where}; the nearest one is {nearest(key, known)!r} (--help lists all)")
    try:
        converted = _convert(_parse(value, known[key]), known[key])
    except (ValueError, yaml.YAMLError) as error:
        raise UserError(f"{key}={value}{where}: {_expected(known[key], value)}") from error
    parent, _, name = key.rpartition(".")
    setattr(get_option(run, parent) if parent else run, name, converted)


def check_types(run: object) -> None:
    """Refuse values that are not of the type, or among the choices, of their option.

    Raises:
        UserError: the message names option, value and valid values.
    """
    for key, annotation in option_types(type(run)).items():
        value = get_option(run, key)
        try:
            _convert(value, annotation)
        except ValueError as error:
            raise UserError(f"{key}={value}: {_expected(annotation, value)}") from error


def leaves(document: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield (dotted key, value) of every leaf of a nested mapping."""
    for name, value in document.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


@cache
def _annotations(kind: Any, prefix: str = "") -> tuple[tuple[str, Any], ...]:
    found: list[tuple[str, Any]] = []
    hints = get_type_hints(kind)
    for field in fields(kind):
        if is_dataclass(hints[field.name]):
            found += _annotations(hints[field.name], f"{prefix}{field.name}.")
        else:
            found.append((prefix + field.name, hints[field.name]))
    return tuple(found)


def _parse(value: object, annotation: Any) -> object:
    """Return what a text on the command line stands for: YAML, but plain text where only text is expected."""
    textual = annotation is str or (choices(annotation) and all(isinstance(one, str) for one in choices(annotation)))
    return yaml.safe_load(value) if isinstance(value, str) and not textual else value


def _convert(value: Any, annotation: Any) -> Any:
    """Return ``value`` as the annotated type.

    Raises:
        ValueError: it is of another type, or not among the choices.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return _convert_union(value, arguments)
    if origin is Literal:
        value = "off" if value is False and "off" in arguments else value  # YAML reads a bare off as false
        return _require(value, value in arguments)
    if origin is list:
        _require(value, isinstance(value, (list, tuple)))
        return [_convert(one, arguments[0]) for one in value]
    if annotation is bool or isinstance(value, bool):
        return _require(value, annotation is bool and isinstance(value, bool))
    _require(value, isinstance(value, (str, int, float)))
    if annotation is int:
        _require(value, not isinstance(value, float))
    return annotation(value)


def _convert_union(value: Any, kinds: tuple[Any, ...]) -> Any:
    if value is None and type(None) in kinds:
        return None
    for kind in kinds:
        try:
            if kind is not type(None):
                return _convert(value, kind)
        except ValueError:
            continue
    raise ValueError


def _require(value: Any, fits: bool) -> Any:
    if not fits:
        raise ValueError
    return value


def _expected(annotation: Any, value: object) -> str:
    valid = [str(one).lower() if isinstance(one, bool) else str(one) for one in choices(annotation)]
    if not valid:
        name = annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)
        return f"expected {name}, got {value!r}"
    near = difflib.get_close_matches(str(value), valid, n=1)
    return f"valid: {', '.join(valid)}" + (f" (did you mean {near[0]}?)" if near else "")
