"""Printed configurations of all recipes: a change of a shared default must not change what a recipe trains."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from cosmos_lidar.recipes.registry import family_names, find_family
from cosmos_lidar.training.overrides import to_yaml

GOLDEN = Path(__file__).parent / "golden"
# "auto" is what a recipe decided by itself before: false without $WANDB_API_KEY.
NOW = {("video_tokenizer.cv8x8x8", "log.wandb"): "auto", ("video_tokenizer.dv8x16x16", "log.wandb"): "auto"}


def leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("*.yaml")))
def test_a_recipe_prints_what_it_always_did(name: str) -> None:
    family, variant = name.split(".")
    printed = leaves(yaml.safe_load(to_yaml(find_family(family).recipes[variant]())))
    recorded = leaves(yaml.safe_load((GOLDEN / f"{name}.yaml").read_text()))
    differ = {key: (value, printed.get(key)) for key, value in recorded.items() if printed.get(key, "gone") != value}
    assert differ == {key: (False, now) for (recipe, key), now in NOW.items() if recipe == name}


def test_no_recorded_variant_is_gone() -> None:
    families = [find_family(name) for name in family_names()]
    variants = {f"{family.name}.{variant}" for family in families for variant in family.recipes}
    assert {path.stem for path in GOLDEN.glob("*.yaml")} <= variants
