"""Import path of ``cosmos_lidar.recipes`` and ``cosmos_lidar.launch`` in a checkout.

A wheel holds the two packages inside ``cosmos_lidar``, as ``launch`` and ``recipes`` are names that others install, too
(ROS 2 has a package ``launch``). In a source tree they stand beside it, where ``torchrun recipes/NAME.py`` and
``sbatch launch/slurm/train.sbatch`` find them.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BESIDE = ("recipes", "launch")


class PackagesBeside:
    """Finder (PEP 451) of the packages beside ``cosmos_lidar``; an entry of ``sys.meta_path``."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return the spec of ``cosmos_lidar.NAME`` for a package of :data:`BESIDE`; None for all others."""
        parent, _, last = name.rpartition(".")
        file = ROOT / last / "__init__.py"
        if parent != "cosmos_lidar" or last not in BESIDE or not file.is_file():
            return None
        return spec_from_file_location(name, file, submodule_search_locations=[str(file.parent)])


sys.meta_path.append(PackagesBeside)  # type: ignore[arg-type]
