"""Fresh Python environments with an installed wheel and exactly the distributions that chosen extras ask for.

Nothing is downloaded: the distributions are linked from the environment that runs the tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement


def closure(requirements: Iterable[str], extras: Iterable[str] = ()) -> dict[str, Distribution]:
    """Return the installed distributions that requirements bring, by name.

    Args:
        requirements: as in ``Requires-Dist``, with markers.
        extras: extras for whose sake a requirement with a marker counts.
    """
    found: dict[str, Distribution] = {}
    todo = [(Requirement(text), frozenset(extras)) for text in requirements]
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        requirement, wanted = todo.pop()
        if requirement.marker and not any(requirement.marker.evaluate({"extra": one}) for one in ("", *wanted)):
            continue
        key = (requirement.name.lower(), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        try:
            found[key[0]] = distribution(requirement.name)
        except PackageNotFoundError:
            continue  # for another platform, or not needed by what is pinned
        more = found[key[0]].requires or []
        todo += [(Requirement(text), frozenset(requirement.extras)) for text in more]
    return found


def make_environment(folder: Path, wheel: Path, extras: Iterable[str] = ()) -> Path:
    """Install a wheel with ``extras`` into a new environment; returns its Python.

    Args:
        folder: of the environment, to be created.
        wheel: the wheel of this project.
        extras: such as ``("train",)``; none: the base install.
    """
    venv.EnvBuilder(with_pip=False).create(folder)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", str(wheel)], check=True, timeout=120)
    (site,) = (folder / "lib").glob("python*/site-packages")
    (installed,) = [one for one in distributions(path=[str(site)]) if one.metadata["Name"] in NAMES]
    _link(closure(installed.requires or [], extras).values(), site)
    return python


NAMES = ("cosmos_lidar", "cosmos-lidar")


def _link(wanted: Iterable[Distribution], site: Path) -> None:
    """Link the files of distributions into ``site``: whole top-level folders, where no other distribution has part."""
    chosen = {one.metadata["Name"]: one for one in wanted}
    owners: dict[str, set[str]] = {}
    files = {one.metadata["Name"]: _files(one) for one in distributions()}
    for name, paths in files.items():
        for path in paths:
            owners.setdefault(path.partition("/")[0], set()).add(name)
    for name, one in chosen.items():
        if name in NAMES:
            continue
        for path in files[name]:
            top = path.partition("/")[0]
            linked = top if owners[top] <= set(chosen) else path
            target = site / linked
            if not os.path.lexists(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(os.fspath(one.locate_file(linked)))


def _files(one: Distribution) -> list[str]:
    """Return the modules and data files of a distribution, without programs and caches."""
    record = one.read_text("RECORD") or ""
    paths = dict.fromkeys(line.rsplit(",", 2)[0].strip('"') for line in record.splitlines())
    return [path for path in paths if not path.startswith("../") and not path.endswith((".pth", ".pyc"))]
