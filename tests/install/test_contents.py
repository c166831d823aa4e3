"""Contents of wheel and sdist: every file of the packages, and nothing general at the top level."""

from __future__ import annotations

import zipfile
from pathlib import Path

from tests.install.conftest import Built


def contents(wheel: Path) -> dict[str, int]:
    """Return {file: CRC} of a wheel, without its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return {one.filename: one.CRC for one in archive.infolist() if ".dist-info/" not in one.filename}


def test_every_file_of_the_packages_is_in_the_wheel(built: Built) -> None:
    expected = set()
    for top in ("cosmos_lidar", "energon_tasks", "recipes", "launch"):
        inside = Path("cosmos_lidar") if top in ("recipes", "launch") else Path()
        files = [path for path in (built.source / top).rglob("*") if path.is_file()]
        expected |= {str(inside / path.relative_to(built.source)) for path in files}
    assert len(expected) > 250
    assert expected == set(contents(built.wheel))


def test_nothing_general_is_put_at_the_top_level(built: Built) -> None:
    assert {name.partition("/")[0] for name in contents(built.wheel)} == {"cosmos_lidar", "energon_tasks"}


def test_the_sdist_makes_the_same_wheel(built: Built) -> None:
    assert contents(built.wheel) == contents(built.wheel_of_sdist)
