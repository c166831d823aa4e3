"""Packages beside cosmos_lidar in a checkout: found under its name, whatever else is called launch or recipes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", ["recipes", "launch", "recipes.registry", "launch.cluster"])
def test_packages_of_the_root_are_found_inside_cosmos_lidar(name: str) -> None:
    path = Path(find_spec(f"cosmos_lidar.{name}").origin)
    assert path.is_relative_to(ROOT / name.partition(".")[0])


@pytest.mark.parametrize("name", ["tests", "docs", "cosmos_lidar", "no_such"])
def test_nothing_else_of_the_root_is_found_inside_cosmos_lidar(name: str) -> None:
    assert find_spec(f"cosmos_lidar.{name}") is None


def test_our_own_code_imports_them_by_their_installed_names() -> None:
    plain = re.compile(r"^\s*(?:from|import) (?:recipes|launch)\b", re.M)
    folders = ("cosmos_lidar", "energon_tasks", "recipes", "launch")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 250
    assert [str(path.relative_to(ROOT)) for path in files if plain.search(path.read_text(encoding="utf-8"))] == []


def test_packages_of_others_with_these_names_are_not_imported(tmp_path: Path) -> None:
    for name in ("launch", "recipes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('a package of ROS 2')\n")
    code = (
        "from cosmos_lidar.recipes.registry import find_family, family_names\n"
        "import cosmos_lidar.launch.cluster\n"
        "print([find_family(name).name for name in family_names()])\n"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=True
    )
    assert "'dit'" in found.stdout
