"""Layout of the packages: imports go downwards, families stand apart, shared packages name no family.

All imports count: those inside functions, those for type checkers alone, and module names in strings
(``importlib.import_module("cosmos_lidar.families.dit.job")``).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOPS = ("cosmos_lidar", "energon_tasks", "recipes", "launch")
# From top to bottom. A package may import those of its own line and of the lines below it.
ORDER = (
    ("__main__", "cli", "commands"),
    ("demo", "runs", "hub"),
    ("recipes", "launch"),
    ("families",),
    ("energon_tasks", "training", "viz", "metrics"),
    ("shards", "latents", "parallel", "losses", "synth"),
    ("clips", "models"),
    ("sensors", "kernels", "diffusion"),
    (
        "errors",
        "arguments",
        "bounds",
        "pickles",
        "torch_files",
        "arrays",
        "images",
        "tars",
        "files",
        "folder_lock",
        "log",
        "extras",
        "progress",
        "workers",
        "weights",
        "_moved",
        "_checkout",
        "cosmos_lidar",
    ),
)
ENTRY = ("cli",)  # makes the parser of the commands, one of which prints its completions
SHARED = ("training", "energon_tasks", "shards", "viz")  # name no family
TABLE = Path("cosmos_lidar", "_moved.py")  # holds names of modules as data
IMPORTABLE = ("dit",)  # families that others may import


@dataclass(frozen=True)
class Import:
    """One file imports another.

    Attributes:
        importer: file below the root.
        imported: file, or folder of a package, below the root.
        line: of the import.
    """

    importer: Path
    imported: Path
    line: int

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def package_of(path: Path) -> str:
    """Return the package of a file below the root: ``shards`` of cosmos_lidar/shards/plan.py, ``recipes``, ``cli``."""
    parts = path.with_suffix("").parts
    inner = parts[1:] if parts[0] == "cosmos_lidar" else parts
    return inner[0] if inner and inner[0] != "__init__" else parts[0]


def family_of(path: Path) -> str | None:
    """Return the family whose folder a file is in."""
    parts = path.parts
    inside = parts[:2] == ("cosmos_lidar", "families") and (len(parts) > 3 or len(parts) == 3 and not path.suffix)
    return parts[2] if inside else None


def imports_of(root: Path) -> list[Import]:
    """Return the imports among the packages of a source tree."""
    files = [file for top in TOPS for file in sorted((root / top).rglob("*.py"))]
    return [found for file in files for found in _imports_of_file(root, file.relative_to(root))]


def _imports_of_file(root: Path, file: Path) -> Iterator[Import]:
    for node in ast.walk(ast.parse((root / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and file == TABLE:
            continue
        for module in _modules(node, file):
            target = _file_of(root, module)
            if target is not None and target != file:
                yield Import(file, target, node.lineno)


def _modules(node: ast.AST, file: Path) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        package = ".".join(file.parts[: len(file.parts) - node.level]) if node.level else ""
        base = ".".join(part for part in (package, node.module) if part)
        return [f"{base}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"\w+(\.\w+)+", node.value):
        return [node.value]
    return []


def _file_of(root: Path, module: str) -> Path | None:
    """Return the file of a module, or of the module that has this name in it; None where it is not ours."""
    parts = module.split(".")
    if parts[0] == "cosmos_lidar" and parts[1:2] in (["recipes"], ["launch"]):
        parts = parts[1:]  # they lie beside cosmos_lidar and install inside it
    if parts[0] not in TOPS:
        return None
    while parts:
        path = Path(*parts)
        if (root / path.with_suffix(".py")).is_file():
            return path.with_suffix(".py")
        if (root / path).is_dir():
            return path if len(parts) > 1 else path / "__init__.py"
        parts.pop()
    return None


def climbs(imports: list[Import]) -> list[str]:
    """Return the imports of a package by one below it."""
    level = {name: number for number, line in enumerate(ORDER) for name in line}
    found = []
    for one in imports:
        lower, upper = package_of(one.importer), package_of(one.imported)
        for name, path in ((lower, one.importer), (upper, one.imported)):
            if name not in level:
                found.append(f"{path}: package {name} has no place in ORDER of tests/test_imports.py")
        if level.get(lower, 0) > level.get(upper, 99):
            found.append(f"{one}: {lower} is below {upper}")
    return found


def circles(imports: list[Import]) -> list[str]:
    """Return pairs of packages that import each other."""
    between = {}
    for one in imports:
        between.setdefault((package_of(one.importer), package_of(one.imported)), one)
    return [
        f"{one}, and {between[b, a]}"
        for (a, b), one in between.items()
        if a < b and (b, a) in between and a not in ENTRY and b not in ENTRY
    ]


def families_that_meet(imports: list[Import]) -> list[str]:
    """Return the imports of a family by another family, or by what all families share."""
    found = []
    for one in imports:
        own, other = family_of(one.importer), family_of(one.imported)
        if package_of(one.importer) == "families" and other not in (None, own, *IMPORTABLE):
            found.append(f"{one}: {own or 'what families share'} names the family {other}")
        if package_of(one.importer) == "families" and own is None and other in IMPORTABLE:
            found.append(f"{one}: what families share names the family {other}")
    return found


def family_names(root: Path) -> list[str]:
    """Return the names of the folders of families and of the recipe files."""
    folders = (path.name for path in (root / "cosmos_lidar" / "families").iterdir() if (path / "__init__.py").is_file())
    recipes = (path.stem for path in (root / "recipes").glob("*.py") if not path.stem.startswith("_"))
    return sorted({*folders, *recipes} - {"registry"})


def families_named(root: Path) -> list[str]:
    """Return where a package that knows no family names one: imports, identifiers, strings other than docstrings."""
    # a family may have the name of its sample type, such as multiview
    names = "|".join(
        name for name in family_names(root) if not (root / "cosmos_lidar" / "shards" / f"{name}.py").is_file()
    )
    word = re.compile(rf"(?<![a-z0-9_])(?:{names})(?![a-z0-9_])|\bfamilies\.(?!export\b)\w|\brecipes\.\w")
    folders = [root / "cosmos_lidar" / name for name in SHARED if name != "energon_tasks"] + [root / "energon_tasks"]
    found = []
    for file in sorted(path for folder in folders for path in folder.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        docstrings = _docstrings(tree)
        for node in ast.walk(tree):
            for text in _texts(node, docstrings, file):
                if match := word.search(text):
                    found.append(f"{file.relative_to(root)}:{node.lineno} names the family {match[0]}")
    return found


def _texts(node: ast.AST, docstrings: set[ast.AST], file: Path) -> list[str]:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return _modules(node, file)
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
        return [node.value]
    if isinstance(node, (ast.Name, ast.FunctionDef, ast.ClassDef)):
        return [node.id if isinstance(node, ast.Name) else node.name]
    return [node.attr] if isinstance(node, ast.Attribute) else []


def _docstrings(tree: ast.AST) -> set[ast.AST]:
    bodies = (node.body for node in ast.walk(tree) if isinstance(getattr(node, "body", None), list))
    return {body[0].value for body in bodies if body and isinstance(body[0], ast.Expr)}


@pytest.fixture(scope="module")
def imports() -> list[Import]:
    """Return the imports of the project itself."""
    return imports_of(ROOT)


def test_below_imports_nothing_above(imports: list[Import]) -> None:
    assert len(imports) > 500
    assert climbs(imports) == []


def test_no_two_packages_import_each_other(imports: list[Import]) -> None:
    assert circles(imports) == []


def test_families_stand_apart(imports: list[Import]) -> None:
    assert {"dit", "lidargen", "lidar_tokenizer", "video_tokenizer"} <= set(family_names(ROOT))
    assert families_that_meet(imports) == []


def test_shared_packages_name_no_family() -> None:
    assert families_named(ROOT) == []


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a source tree that keeps all rules."""
    files = {
        "cosmos_lidar/__init__.py": "",
        "cosmos_lidar/errors.py": "",
        "cosmos_lidar/shards/__init__.py": "",
        "cosmos_lidar/shards/plan.py": "from cosmos_lidar.errors import X\nfrom cosmos_lidar import __version__\n",
        "cosmos_lidar/training/__init__.py": "",
        "cosmos_lidar/training/engine.py": "import cosmos_lidar.shards.plan\n",
        "cosmos_lidar/families/__init__.py": "",
        "cosmos_lidar/families/export.py": "from cosmos_lidar.training.engine import fit\n",
        "cosmos_lidar/families/dit/__init__.py": "",
        "cosmos_lidar/families/dit/job.py": "from energon_tasks import views\nimport cosmos_lidar.families.export\n",
        "cosmos_lidar/families/other/__init__.py": "",
        "cosmos_lidar/families/other/job.py": "def f():\n    from cosmos_lidar.families.dit import job\n",
        "energon_tasks/__init__.py": "",
        "energon_tasks/views.py": '"""Views of dit are read here."""\nfrom cosmos_lidar.shards.plan import y\n',
        "recipes/__init__.py": "",
        "recipes/registry.py": "",
        "recipes/other.py": "import cosmos_lidar.families.other.job\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def all_problems(root: Path) -> list[str]:
    imports = imports_of(root)
    return [*climbs(imports), *circles(imports), *families_that_meet(imports), *families_named(root)]


def test_a_tree_that_keeps_the_rules_has_no_problems(tree: Path) -> None:
    assert len(imports_of(tree)) == 9
    assert all_problems(tree) == []


@pytest.mark.parametrize(
    ("file", "line", "problem"),
    [
        (
            "cosmos_lidar/shards/plan.py", "from cosmos_lidar.training import engine",
            "cosmos_lidar/shards/plan.py:1 imports cosmos_lidar/training/engine.py: shards is below training",
        ),
        (
            "cosmos_lidar/shards/plan.py", "def f():\n    if True:\n        import energon_tasks.views as v",
            "cosmos_lidar/shards/plan.py:3 imports energon_tasks/views.py: shards is below energon_tasks",
        ),
        (
            "cosmos_lidar/errors.py", "from .shards import plan",
            "cosmos_lidar/errors.py:1 imports cosmos_lidar/shards/plan.py: errors is below shards",
        ),
        (
            "cosmos_lidar/families/other/job.py", "from cosmos_lidar.recipes.registry import find",
            "cosmos_lidar/families/other/job.py:1 imports recipes/registry.py: families is below recipes",
        ),
        (
            "cosmos_lidar/training/engine.py", 'name = "cosmos_lidar.families.dit.job"',
            "cosmos_lidar/training/engine.py:1 imports cosmos_lidar/families/dit/job.py: training is below families",
        ),
        (
            "cosmos_lidar/training/engine.py", 'if family == "dit":\n    pass',
            "cosmos_lidar/training/engine.py:1 names the family dit",
        ),
        ("energon_tasks/views.py", "def f(x):\n    return x.other", "energon_tasks/views.py:2 names the family other"),
        (
            "cosmos_lidar/families/dit/job.py", "from cosmos_lidar.families.other.job import f",
            "cosmos_lidar/families/dit/job.py:1 imports cosmos_lidar/families/other/job.py: dit names the family other",
        ),
        (
            "cosmos_lidar/families/export.py", "from cosmos_lidar.families.dit.job import f",
            "cosmos_lidar/families/export.py:1 imports cosmos_lidar/families/dit/job.py: "
            "what families share names the family dit",
        ),
        (
            "cosmos_lidar/training/engine.py", "from energon_tasks.views import a",
            "energon_tasks/views.py:2 imports cosmos_lidar/training/engine.py, and "
            "cosmos_lidar/training/engine.py:1 imports energon_tasks/views.py",
        ),
        (
            "cosmos_lidar/attic/old.py", "import cosmos_lidar.errors",
            "cosmos_lidar/attic/old.py: package attic has no place in ORDER of tests/test_imports.py",
        ),
    ],
)  # fmt: skip
def test_a_broken_rule_is_told_with_both_files(tree: Path, file: str, line: str, problem: str) -> None:
    if ", and " in problem:
        (tree / "energon_tasks" / "views.py").write_text("\nfrom cosmos_lidar.training import engine\n")
    (tree / file).parent.mkdir(exist_ok=True)
    (tree / file).write_text(line + "\n")
    found = all_problems(tree)
    assert any(problem in one for one in found), found
