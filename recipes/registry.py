"""Which configuration belongs to which file of ``recipes/``: for programs that are handed a run folder."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.training.overrides import load_config, read_key


@dataclass(frozen=True)
class Family:
    """A file of ``recipes/``.

    Attributes:
        name: of the file.
        module: with RECIPES, ``make_job`` and ``train``.
    """

    name: str
    module: Any

    @property
    def kind(self) -> type:
        """Type of its configurations."""
        return type(next(iter(self.module.RECIPES.values()))())


def family_names() -> list[str]:
    """Return the names of the recipe files: those of ``recipes/`` but this one and those that begin with ``_``."""
    import recipes

    names = (info.name for info in pkgutil.iter_modules(recipes.__path__))
    return sorted(name for name in names if name != "registry" and not name.startswith("_"))


def find_family(name: str) -> Family:
    """Return a file of ``recipes/`` by its name.

    Raises:
        UserError: there is none of that name.
    """
    names = family_names()
    if name not in names:
        raise UserError(f"unknown recipe {name!r}: choose {' or '.join(names)}")
    return Family(name, importlib.import_module(f"recipes.{name}"))


def load_run(folder: Path) -> tuple[Family, Any]:
    """Return the family and the configuration of a run folder.

    Raises:
        DataError: no run folder.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        raise DataError("no config.yaml in it", file=folder, wanted="the folder of a training run")
    family = find_family(str(read_key(path, "family")))
    return family, load_config(family.kind, path)
