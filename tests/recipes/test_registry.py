"""Recipe files are found by listing the folder, and a run finds its recipe by its configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.recipes.registry import find_family

RECIPES = sorted(
    path.stem
    for path in (Path(__file__).resolve().parents[2] / "recipes").glob("*.py")
    if path.stem not in ("__init__", "registry")
)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_file_is_a_family_of_its_name(name: str) -> None:
    family = find_family(name)
    assert family.name == name
    assert "debug" in family.recipes
    for variant in family.recipes.values():
        run = variant()
        assert isinstance(run, family.config)
        assert run.family == name


def test_an_unknown_recipe_is_refused_with_those_there_are() -> None:
    with pytest.raises(UserError, match="no_such_recipe") as caught:
        find_family("no_such_recipe")
    assert all(name in str(caught.value) for name in RECIPES)
