"""Folders of a Diffusers model: ``config.json`` with the name of its class, and safetensors, whole or in shards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.files import atomic_write, read_json_object, read_tensors, visible_files, write_json
from cosmos_lidar.models.sharded_safetensors import files_of_index, index_in

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
_CLASS = "_class_name"
_LARGEST_CONFIG = 1_000_000  # bytes
MOST_BLOCKS = 256  # of one kind in a network: a configuration from elsewhere is not to build millions
_WANTED = "a folder as save_pretrained of Diffusers writes it: config.json and safetensors"


def class_in(path: str | Path) -> str | None:
    """Return the name of the Diffusers class whose folder this is; None for other folders and files."""
    folder = Path(path)
    if not (folder / CONFIG).is_file():
        return None
    try:
        name = read_fields(folder).get(_CLASS)
    except DataError:  # of others: what belongs to the folder reads it
        return None
    return name if isinstance(name, str) else None


def read_fields(folder: Path) -> dict[str, Any]:
    """Return the fields in the ``config.json`` of a folder.

    Raises:
        DataError: no JSON object, or more than 1 MB.
    """
    return read_json_object(folder / CONFIG, "a configuration", _WANTED, _LARGEST_CONFIG)


def read_model(folder: Path, class_name: str, defaults: Mapping[str, Any]) -> tuple[dict[str, Any], list[Path]]:
    """Return the fields of a Diffusers model and the files of its weights.

    Args:
        folder: of the model.
        class_name: that it must be of.
        defaults: of all fields that are understood; they stand for those that the file leaves out.

    Raises:
        DataError: another class, a field that is not understood and is set, one of another type, or no safetensors.
    """
    found, where = read_fields(folder), folder / CONFIG
    if found.get(_CLASS) != class_name:
        raise DataError(f"a {found.get(_CLASS)!r}", file=where, key=_CLASS, wanted=class_name)
    fields = {name: value for name, value in found.items() if not name.startswith("_")}
    for name, value in fields.items():
        if name not in defaults and value not in (None, False):
            wanted = f"a {class_name} without it; understood: {', '.join(defaults)}"
            raise DataError(f"unknown field: {value!r:.60}", file=where, key=name, wanted=wanted)
        if name in defaults and not _same_kind(value, defaults[name]):
            raise DataError(f"{value!r:.60}", file=where, key=name, wanted=f"a value such as {defaults[name]!r:.60}")
    return dict(defaults) | {name: value for name, value in fields.items() if name in defaults}, _weight_files(folder)


def check_fields(fields: Mapping[str, Any], where: Path, rules: Iterable[tuple[str, object, str]]) -> None:
    """Refuse the first field of a configuration that our network cannot have.

    Args:
        fields: of :func:`read_model`.
        where: their file.
        rules: (field, true where its value is wrong, expected values).

    Raises:
        DataError: names file, field, value and what is expected.
    """
    for key, wrong, wanted in rules:
        if wrong:
            raise DataError(f"{fields[key]!r:.80}", file=where, key=key, wanted=wanted)


def read_renamed(files: Iterable[Path], names: Mapping[str, str], wanted: str) -> dict[str, Tensor]:
    """Return the tensors of files by our names.

    Args:
        files: safetensors.
        names: our name of each tensor -> that of the files.
        wanted: for error messages.

    Raises:
        DataError: tensors are missing or unexpected, or two files have one of a name.
    """
    tensors: dict[str, Tensor] = {}
    places: dict[str, Path] = {}
    for file in files:
        for name, value in read_tensors(file, wanted).items():
            if name in places:
                raise DataError(f"{places[name].name} has this tensor, too", file=file, key=name, wanted=wanted)
            tensors[name], places[name] = value, file
    missing, more = sorted(set(names.values()) - set(tensors)), sorted(set(tensors) - set(names.values()))
    if missing or more:
        parts = ((missing, "missing"), (more, "unexpected"))
        text = "; ".join(f"{len(some)} {kind}: {', '.join(some[:4])}" for some, kind in parts if some)
        raise DataError(text, file=next(iter(places.values()), None), wanted=wanted)
    return {own: tensors[name] for own, name in names.items()}


def write_model(
    folder: Path, class_name: str, fields: Mapping[str, Any], names: Mapping[str, str], state: Mapping[str, Tensor]
) -> list[Path]:
    """Write a folder that ``from_pretrained`` of Diffusers reads.

    Args:
        folder: made when absent; files of these names are replaced.
        class_name: of Diffusers.
        fields: its constructor's arguments.
        names: our name of each tensor -> that of Diffusers.
        state: by our names.

    Returns:
        ``config.json`` and the safetensors file.

    Raises:
        UserError: a tensor has no name in Diffusers.
    """
    from safetensors.torch import save_file

    if more := sorted(set(state) - set(names)):
        raise UserError(f"Diffusers' {class_name} has no place for {len(more)} tensors: {', '.join(more[:4])}")
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {theirs: state[own].detach().cpu().contiguous() for own, theirs in names.items()}
    with atomic_write(folder / WEIGHTS, sync=True) as partial:
        save_file(tensors, partial, {"format": "pt"})
    write_json(folder / CONFIG, {_CLASS: class_name, **fields})
    return [folder / CONFIG, folder / WEIGHTS]


def _same_kind(value: Any, default: Any) -> bool:
    """Return whether a value of a configuration can stand where ``default`` does; None for another None or a name."""
    if default is None:
        return not isinstance(value, dict)
    if value is None:
        return isinstance(default, str)
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(default, (int, float)):
        whole = isinstance(default, int)
        return isinstance(value, int if whole else (int, float)) and not isinstance(value, bool) and abs(value) < 1e7
    if isinstance(default, list):
        return isinstance(value, list) and len(value) <= 4096 and all(isinstance(one, (int, float)) for one in value)
    return isinstance(value, type(default))


def _weight_files(folder: Path) -> list[Path]:
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (index := index_in(folder)) is not None:
        return files_of_index(index)
    others = visible_files(folder, "*.safetensors")
    if len(others) == 1:
        return others
    found = f"{len(others)} safetensors files" if others else "no safetensors file"
    pickled = " (.bin files are not read: they are pickles)" if visible_files(folder, "*.bin") else ""
    raise DataError(found + pickled, file=folder, wanted=f"{WEIGHTS}, or its shards with their index")
