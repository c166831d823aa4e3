"""MkDocs hook: adds pages that are not files of ``docs/``: README, CONTRIBUTING, CHANGELOG, and the API reference.

The API reference has one page per package, which mkdocstrings fills from the docstrings of its modules.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("cosmos_lidar", "energon_tasks", "recipes", "launch")
COPIED = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
GUIDES = (
    "recordings",
    "data",
    "lidar_tokenizer",
    "autoencode",
    "video_tokenizer",
    "lidargen",
    "multiview",
    "also",
    "training",
    "hub",
    "launch",
    "performance",
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Set the navigation: guides, reference, project; a page of docs/ that is named nowhere is a guide."""
    there = sorted(path.stem for path in (ROOT / "docs").glob("*.md"))
    guides = [name for name in GUIDES if name in there]
    guides += [name for name in there if name not in (*GUIDES, "glossary")]
    project = [COPIED[name] for name in ("CONTRIBUTING.md", "CHANGELOG.md") if (ROOT / name).is_file()]
    api = [{page[4:-3].removeprefix("cosmos_lidar."): page} for page in _api_pages()]
    config.nav = [
        {"Overview": "index.md"},
        {"Guides": [f"{name}.md" for name in guides]},
        {"Reference": [*(["glossary.md"] if "glossary" in there else []), {"API": api}]},
        {"Project": project},
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for source, target in COPIED.items():
        if (ROOT / source).is_file():
            text = _links_of_docs((ROOT / source).read_text(encoding="utf-8"))
            files.append(File.generated(config, target, content=text))
    for page, text in _api_pages().items():
        files.append(File.generated(config, page, content=text))
    return files


def _links_of_docs(text: str) -> str:
    """Return a page of the root with links as they are from docs/; what has no page there is no link."""

    def target(match: re.Match[str]) -> str:
        label, path = match.groups()
        file, _, anchor = path.partition("#")
        if "://" in path or not file:
            return match[0]
        if file in COPIED:
            return f"[{label}]({COPIED[file]}{'#' + anchor if anchor else ''})"
        if file.startswith("docs/"):
            return f"[{label}]({path.removeprefix('docs/')})"
        return label if label.startswith("`") else f"`{label}`"

    return re.sub(r"\[([^\]]*)\]\(([^)\s]+)\)", target, text)


def _api_pages() -> dict[str, str]:
    """Return {page: Markdown} of every package that has public modules or defines something."""
    pages = {}
    for top in PACKAGES:
        for init in sorted((ROOT / top).rglob("__init__.py")):
            package = ".".join(init.parent.relative_to(ROOT).parts)
            modules = [path.stem for path in sorted(init.parent.glob("*.py")) if not path.stem.startswith("_")]
            if modules or _defined(ast.parse(init.read_text(encoding="utf-8"))):
                pages[f"api/{package}.md"] = _api_page(package, init, modules)
    return pages


def _api_page(package: str, init: Path, modules: list[str]) -> str:
    """Return the page of a package: its docstring, what it defines and exports, and its modules one after another."""
    tree = ast.parse(init.read_text(encoding="utf-8"))
    own = _defined(tree)
    text = f"::: {package}\n    options:\n      heading_level: 1\n      members: {own or 'false'}\n\n"
    exported = _exported(tree)
    if exported:
        links = [f"`{name}`" if name.isupper() else f"[`{name}`][{package}.{name}]" for name in exported]
        text += f"`{package}` exports {', '.join(links)}.\n\n"
    return text + "\n\n".join(f"::: {package}.{module}" for module in modules) + "\n"


def _defined(tree: ast.Module) -> list[str]:
    """Return the names of the public functions and classes that a module defines."""
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"]


def _exported(tree: ast.Module) -> list[str]:
    """Return the names in ``__all__`` of a module."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(getattr(one, "id", "") == "__all__" for one in node.targets):
            return list(ast.literal_eval(node.value))
    return []
