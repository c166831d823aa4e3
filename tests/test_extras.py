"""Optional packages: named with their extra before any work."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from cosmos_lidar import extras
from cosmos_lidar.cli import main
from cosmos_lidar.errors import UserError


@pytest.fixture
def none_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide all optional packages."""
    monkeypatch.setattr(extras, "_installed", lambda module: False)


def test_all_missing_packages_are_named_at_once_with_the_extras_that_bring_them(none_installed: None) -> None:
    with pytest.raises(UserError) as error:
        extras.require_installed(("lightning", "nemo", "rerun"), "this")
    text = "this needs lightning, nemo, rerun, which are not installed: pip install 'cosmos_lidar[train,viz]'"
    assert str(error.value) == text


def test_installed_packages_are_not_asked_for() -> None:
    extras.require_installed((), "this")
    assert extras._installed("json")
    assert not extras._installed("no_such_package")
    assert not extras._installed("no_such_package.part")


def test_a_module_is_imported_or_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(extras.EXTRAS, "no_such_package", "viz")
    monkeypatch.setitem(extras.EXTRAS, "json", "train")
    assert extras.require("json.decoder").JSONDecoder
    with pytest.raises(UserError, match=r"no_such_package.part is needed here.*cosmos_lidar\[viz\]"):
        extras.require("no_such_package.part")


def test_the_table_names_extras_of_setup_cfg() -> None:
    config = configparser.ConfigParser()
    config.read(Path(__file__).parents[1] / "setup.cfg")
    assert set(extras.EXTRAS.values()) <= set(config["options.extras_require"])
    assert set(extras.TRAINING) <= set(extras.EXTRAS)


@pytest.mark.parametrize("command", [
    ["train", "dit", "recipe=debug"], ["demo", "--out", "OUT"], ["prepare", "nowhere", "OUT"],
    ["doctor", "dit", "recipe=debug"], ["replay", "nowhere", "--step", "1"], ["view", "nowhere", "--rrd", "OUT"],
])  # fmt: skip
def test_commands_name_the_extra_before_they_begin(
    command: list[str], none_installed: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main([str(out) if word == "OUT" else word for word in command]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"cosmos-lidar {command[0]}: cosmos-lidar {command[0]} needs ")
    assert said.count("pip install 'cosmos_lidar[") == 1
    assert not out.exists()
