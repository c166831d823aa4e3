"""Sharded safetensors: the files that ``model.safetensors.index.json`` names, as the Hub stores large networks."""

from __future__ import annotations

from pathlib import Path

from cosmos_lidar.errors import DataError
from cosmos_lidar.files import parse_json, read_text, visible_files

INDEX = ".safetensors.index.json"


def is_index(path: Path) -> bool:
    """Return whether a path has the name of an index of sharded safetensors."""
    return path.name.endswith(INDEX)


def index_in(folder: Path) -> Path | None:
    """Return the only index in a folder; None where there is none, or more than one."""
    indices = visible_files(folder, f"*{INDEX}")
    return indices[0] if len(indices) == 1 else None


def files_of_index(index: Path) -> list[Path]:
    """Return the shards that an index names, in the order of their names.

    Raises:
        DataError: no index, it names files elsewhere, or one of them is missing.
    """
    wanted = f"a list weight_map of tensors to files beside it, as {INDEX.lstrip('.')} has"
    try:
        names = sorted(set(parse_json(read_text(index))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"not readable: {error!r:.120}", file=index, wanted=wanted) from error
    if not names or any(not isinstance(name, str) or Path(name).name != name for name in names):
        raise DataError("names no files beside it", file=index, wanted=wanted)
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        problem = f"{len(missing)} of {len(names)} files that it names are missing, such as {missing[0]}"
        raise DataError(problem, file=index, wanted="all of them beside it")
    return [index.parent / name for name in names]
