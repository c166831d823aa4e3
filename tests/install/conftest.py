from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = (
    "cosmos_lidar", "energon_tasks", "recipes", "launch",
    "setup.py", "setup.cfg", "pyproject.toml", "MANIFEST.in", "constraints.txt", "README.md", "CHANGELOG.md", "LICENSE",
)  # fmt: skip


@dataclass(frozen=True)
class Built:
    """Distributions of the source tree.

    Attributes:
        source: copy of the tree that they were built from.
        wheel: built from the tree.
        sdist: the source distribution.
        wheel_of_sdist: built from the unpacked source distribution.
    """

    source: Path
    wheel: Path
    sdist: Path
    wheel_of_sdist: Path


def build(source: Path, out: Path, kind: str) -> Path:
    """Build a distribution with the build backend that pyproject.toml names; ``kind`` is wheel or sdist."""
    code = f"import sys; from setuptools import build_meta; print('made', build_meta.build_{kind}(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)], cwd=source, capture_output=True, text=True, timeout=300, check=True
    )
    return out / done.stdout.strip().rpartition("made ")[2]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build wheel and sdist of a copy of the source tree, and a wheel of the sdist."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    source.mkdir()
    for name in SOURCE:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        else:
            shutil.copy(path, source / name)
    wheel, sdist = build(source, folder, "wheel"), build(source, folder, "sdist")
    with tarfile.open(sdist) as tar:
        tar.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    (folder / "again").mkdir()
    return Built(source, wheel, sdist, build(unpacked, folder / "again", "wheel"))
