"""Calls that can run what a file says are banned outside the modules that own them (docs/security.md)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("cosmos_lidar", "energon_tasks", "recipes", "launch", "benchmarks", "docs")
# Banned name or argument -> files that own it: why is said there.
OWNERS: dict[str, tuple[str, ...]] = {
    "pickle": (
        "cosmos_lidar/pickles.py",  # the interpreter of data
        "cosmos_lidar/torch_files.py",  # its errors
        "cosmos_lidar/models/torchscript.py",
        "cosmos_lidar/training/checkpoint/reading.py",
    ),
    "pickle._Unpickler": ("cosmos_lidar/pickles.py",),
    "torch.jit.load": (
        "cosmos_lidar/models/tokenizer/export.py",  # what it has just written
        "cosmos_lidar/metrics/video_features.py",  # one file of known SHA-256
        "benchmarks/gpu_parts/lidar_tokenizer.py",  # exports that the benchmark has just made
        "benchmarks/revisions/observed.py",  # exports that the benchmark has just made
    ),
    "importlib.util.spec_from_file_location": (
        "cosmos_lidar/shards/sample_loader.py",  # what the user trusts, by an option
        "cosmos_lidar/_checkout.py",  # recipes of a checkout
        "recipes/registry.py",  # the recipe file that the command line names
    ),
    "runpy.run_path": ("benchmarks/revisions/warm_python.py",),  # the command that the benchmark was given
    "eval": (),
    "exec": ("benchmarks/revisions/warm_python.py",),  # the command that the benchmark was given
}
MODULES = ("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal")
NAMES = (
    "torch.jit.load", "pickle._Unpickler", "pickle.load", "pickle.loads", "pickle.Unpickler", "os.system",
    "importlib.util.spec_from_file_location", "runpy.run_path",
)  # fmt: skip
LOADERS = ("load", "load_all", "unsafe_load", "full_load", "Loader", "UnsafeLoader", "FullLoader")


# A file without any of these words uses nothing that is banned, and need not be parsed.
WORDS = re.compile(
    "pickle|dill|joblib|shelve|marshal|load|Loader|system|spec_from_file_location|run_path|eval|exec|shell|extract"
)


def files() -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def banned(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, what) of each use of something that can run what a file says."""
    names = dict(_imported(tree))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from ((node.lineno, "pickle") for module in modules if module.split(".")[0] in MODULES)
        name = _name(node, names) if isinstance(node, (ast.Attribute, ast.Name)) else ""
        if name in NAMES:
            yield node.lineno, name
        if name.startswith("yaml.") and name.removeprefix("yaml.") in LOADERS:
            yield node.lineno, name
        if isinstance(node, ast.Call):
            yield from ((node.lineno, what) for what in _calls(node, _name(node.func, names)))


def _calls(node: ast.Call, name: str) -> Iterator[str]:
    given = {word.arg: word.value for word in node.keywords}
    if name in ("eval", "exec", "builtins.eval", "builtins.exec"):
        yield name.rpartition(".")[2]
    if name in ("torch.load", "torch.serialization.load") and not _is(given.get("weights_only"), True):
        yield "torch.load without weights_only=True"
    if name in ("numpy.load", "np.load") and "allow_pickle" in given and not _is(given["allow_pickle"], False):
        yield "np.load(allow_pickle=…)"
    if "shell" in given and not _is(given["shell"], False):
        yield "subprocess with shell=True"
    if name.endswith((".extractall", ".extract")) and "tar" in name:
        yield "unpacking of a tar"


def _is(node: ast.AST | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield (name in this file, dotted name) of imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.asname, alias.name) for alias in node.names if alias.asname)
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)


def _name(node: ast.AST, names: dict[str, str]) -> str:
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    return f"{_name(node.value, names)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def test_no_file_calls_what_can_run_a_file() -> None:
    found = []
    for path in files():
        place, text = str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
        for line, what in banned(ast.parse(text)) if WORDS.search(text) else ():
            if place not in OWNERS.get(what, ()):
                found.append(f"{place}:{line}: {what}")
    assert len(files()) > 300
    assert not found, "\n" + "\n".join(found)


def test_the_list_of_owners_is_true() -> None:
    for what, owners in OWNERS.items():
        for owner in owners:
            uses = {use for _, use in banned(ast.parse((ROOT / owner).read_text(encoding="utf-8")))}
            assert what in uses, f"{owner} does not use {what} any more: take it out"


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("import pickle", "pickle"),
        ("from pickle import loads as l\nl(x)", "pickle.loads"),
        ("import pickle as p\nclass A(p.Unpickler): pass", "pickle.Unpickler"),
        ("import joblib", "pickle"),
        ("import torch\ntorch.load(x)", "torch.load without weights_only=True"),
        ("import torch\ntorch.load(x, weights_only=False)", "torch.load without weights_only=True"),
        ("from torch import load\nload(x, weights_only=maybe)", "torch.load without weights_only=True"),
        ("import torch\ntorch.jit.load(x)", "torch.jit.load"),
        ("from torch import jit\nread = jit.load", "torch.jit.load"),
        ("import yaml\nyaml.load(x, Loader=l)", "yaml.load"),
        ("from yaml import unsafe_load\nunsafe_load(x)", "yaml.unsafe_load"),
        ("import yaml as y\ny.full_load(x)", "yaml.full_load"),
        ("eval(x)", "eval"),
        ("exec(x)", "exec"),
        ("import numpy as np\nnp.load(x, allow_pickle=True)", "np.load(allow_pickle=…)"),
        ("import subprocess\nsubprocess.run(x, shell=True)", "subprocess with shell=True"),
        ("import os\nos.system(x)", "os.system"),
        ("from importlib.util import spec_from_file_location as s\ns(x, y)", "importlib.util.spec_from_file_location"),
        ("from runpy import run_path\nrun_path(x)", "runpy.run_path"),
        ("tar.extractall(x)", "unpacking of a tar"),
    ],
)
def test_each_kind_is_found(code: str, what: str) -> None:
    assert WORDS.search(code)
    assert what in {use for _, use in banned(ast.parse(code))}


def test_what_is_safe_is_not_banned() -> None:
    code = (
        "import torch, yaml, numpy as np\ntorch.load(x, weights_only=True)\nyaml.safe_load(x)\nnetwork.eval()\n"
        "np.load(x)\nnp.load(x, allow_pickle=False)\njson.loads(x)\nsubprocess.run(x, shell=False)\n"
    )
    assert not list(banned(ast.parse(code)))
