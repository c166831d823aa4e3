"""Tests have the tree and the names of the code: every module has a test file, or stands here with what tests it."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("cosmos_lidar", "energon_tasks", "recipes", "launch")

# Module -> the file that tests it, because what it does shows only there. Aim: shorter, never longer.
TESTED_BY: dict[str, str] = {
    "cosmos_lidar/__main__.py": "tests/test_cli.py",
    "cosmos_lidar/clips/readers/release/cameras.py": "tests/clips/readers/test_release.py",
    "cosmos_lidar/clips/readers/release/metadata.py": "tests/clips/readers/test_release.py",
    "cosmos_lidar/clips/readers/release/sweeps.py": "tests/clips/readers/test_release.py",
    "cosmos_lidar/clips/writers/release.py": "tests/clips/readers/test_release.py",
    "cosmos_lidar/commands/_codec_setup.py": "tests/commands/test_tokenize.py",
    "cosmos_lidar/commands/_tokenizer_setup.py": "tests/commands/test_autoencode.py",
    "cosmos_lidar/families/dit/export.py": "tests/training/test_engine.py",
    "cosmos_lidar/families/export.py": "tests/commands/test_export.py",
    "cosmos_lidar/families/lidar_tokenizer/outputs.py": "tests/commands/test_autoencode.py",
    "cosmos_lidar/families/lidar_tokenizer/score.py": "tests/commands/test_autoencode.py",
    "cosmos_lidar/families/lidargen/encode.py": "tests/commands/test_generate_lidar.py",
    "cosmos_lidar/families/lidargen/generate.py": "tests/commands/test_generate_lidar.py",
    "cosmos_lidar/families/lidargen/generator.py": "tests/commands/test_generate_lidar.py",
    "cosmos_lidar/families/lidargen/inputs.py": "tests/commands/test_generate_lidar.py",
    "cosmos_lidar/families/lidargen/online_encoder.py": "tests/commands/test_generate_lidar.py",
    "cosmos_lidar/families/lidargen/outputs.py": "tests/commands/test_generate_lidar.py",
    "cosmos_lidar/families/video_tokenizer/model.py": "tests/families/video_tokenizer/test_job.py",
    "cosmos_lidar/kernels/triton_ops.py": "tests/kernels/test_kernels.py",
    "cosmos_lidar/models/tokenizer/__init__.py": "tests/models/tokenizer/test_network.py",
    "cosmos_lidar/shards/embed_captions.py": "tests/commands/test_embed_captions.py",
    "recipes/dit.py": "tests/recipes/test_published_configurations.py",
    "recipes/lidargen.py": "tests/recipes/test_published_configurations.py",
    "recipes/video_tokenizer.py": "tests/recipes/test_published_configurations.py",
}


def modules() -> list[Path]:
    """Return all modules with code of their own, relative to the root; packages that only re-export have none."""
    found = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    return [path.relative_to(ROOT) for path in found if path.name != "__init__.py" or _defines_something(path)]


def _defines_something(path: Path) -> bool:
    kinds = (ast.FunctionDef, ast.ClassDef)
    return any(isinstance(node, kinds) for node in ast.parse(path.read_text(encoding="utf-8")).body)


def expected(module: Path) -> list[Path]:
    """Return the names that a module's test file may have; that of a package lies in its folder or beside it."""
    parts = module.parts[1:] if module.parts[0] == "cosmos_lidar" else module.parts
    folder = Path("tests", *parts[:-1])
    if module.name != "__init__.py":
        return [folder / f"test_{module.name.lstrip('_')}"]
    name = f"test_{module.parent.name}.py"
    return [folder / name, folder.parent / name]


def test_every_module_has_a_test_of_its_name() -> None:
    missing = [
        f"{module}: no {expected(module)[0]}"
        for module in modules()
        if str(module) not in TESTED_BY and not any((ROOT / test).is_file() for test in expected(module))
    ]
    assert not missing, "\n" + "\n".join(missing)


def test_the_list_of_exceptions_is_true() -> None:
    known = {str(module): module for module in modules()}
    for module, test in TESTED_BY.items():
        assert module in known, f"{module} is not there any more: take it out"
        assert (ROOT / test).is_file(), f"{module}: no {test}"
        own = [path for path in expected(known[module]) if (ROOT / path).is_file()]
        assert not own, f"{module} has {own[0]}: take it out"


def test_a_new_module_without_a_test_is_named() -> None:
    assert expected(Path("cosmos_lidar/metrics/new.py")) == [Path("tests/metrics/test_new.py")]
    assert expected(Path("recipes/new.py")) == [Path("tests/recipes/test_new.py")]
    assert expected(Path("cosmos_lidar/clips/readers/new/__init__.py")) == [
        Path("tests/clips/readers/new/test_new.py"),
        Path("tests/clips/readers/test_new.py"),
    ]
