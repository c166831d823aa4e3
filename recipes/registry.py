"""Registry of model families: finds recipe files by name or path, and the family of a run folder.

A family is one file with a ``FAMILY`` (:class:`cosmos_lidar.training.family.Family`), in this folder or in one of those
that ``$COSMOS_LIDAR_RECIPES`` lists; a file anywhere else is found by its path.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.training.family import Family
from cosmos_lidar.training.overrides import read_key

FOLDERS = "COSMOS_LIDAR_RECIPES"
_OWN = Path(__file__).parent


def family_names() -> list[str]:
    """Return the names of all recipe files: every ``.py`` but this one and those whose name begins with ``_``."""
    return sorted(_files())


def find_family(name: str) -> Family[Any]:
    """Return a family by the name of its recipe file, or by the path of one.

    Raises:
        UserError: there is no such recipe file, or it has no ``FAMILY``.
    """
    path = recipe_file(name)
    family = getattr(_load(path), "FAMILY", None)
    if not isinstance(family, Family):
        raise UserError(f"{path}: expected a recipe file, with FAMILY = Family(…)")
    return family


def recipe_file(name: str) -> Path:
    """Return the path of a recipe file, by its name or its path.

    Raises:
        UserError: there is no such recipe file.
    """
    path = Path(name)
    if path.suffix == ".py":
        if not path.is_file():
            raise UserError(f"{name}: no such recipe file")
        return path
    files = _files()
    if name not in files:
        hint = f"valid: {', '.join(sorted(files))}, the path of a recipe file, or one in a folder of ${FOLDERS}"
        raise UserError(f"unknown recipe {name!r}; {hint}")
    return files[name]


def load_run(folder: Path) -> tuple[Family[Any], Any]:
    """Return the family and the configuration of a run folder.

    Raises:
        DataError: no run folder.
        UserError: its family is unknown here, or its configuration has unknown keys.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        raise DataError("no config.yaml in it", file=folder, wanted="the folder of a training run")
    family = find_family(str(read_key(path, "family")))
    return family, family.load(path)


def _files() -> dict[str, Path]:
    """Return the recipe files by name; those of this folder come before others of the same name."""
    folders = [_OWN, *(Path(part) for part in os.environ.get(FOLDERS, "").split(os.pathsep) if part)]
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.py")):
            if not path.name.startswith("_") and path != Path(__file__):
                found.setdefault(path.stem, path)
    return found


def _load(path: Path) -> ModuleType:
    """Import a recipe file: one of this folder as ``cosmos_lidar.recipes.NAME``, others by their path."""
    if path.resolve().parent == _OWN.resolve():
        return importlib.import_module(f"{__package__}.{path.stem}")
    name = f"recipe_{hashlib.sha256(bytes(path.resolve())).hexdigest()[:12]}_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look up their module, and so does a family whose job is in the same file
    sys.path.append(str(path.resolve().parent))  # modules beside it, as for ``python recipe.py``
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
