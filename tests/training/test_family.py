from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.training.config import EmaConfig, Run, setting
from cosmos_lidar.training.family import Family
from cosmos_lidar.training.overrides import save_config


@dataclass
class Model:
    name: str = setting("toy", "name of the network")
    ema: EmaConfig = field(default_factory=EmaConfig)


@dataclass
class Data:
    size: int = setting(4, "size of something")


@dataclass
class Config(Run):
    family: str = setting("toy", "family")
    model: Model = field(default_factory=Model)
    data: Data = field(default_factory=Data)


def large() -> Config:
    return Config(data=Data(size=40))


FAMILY = Family("toy", {"small": Config, "large": large}, Config, "toy_job", {"data.extent": "data.size"})


def test_variants_options_and_published_names() -> None:
    assert FAMILY.choose([])[0].data.size == 4
    assert FAMILY.choose(["recipe=large"])[0].data.size == 40
    run, flags = FAMILY.choose(["recipe=large", "data.extent=7", "--dryrun"])
    assert (run.data.size, flags.dryrun) == (7, True)
    with pytest.raises(UserError, match="recipe=huge"):
        FAMILY.choose(["recipe=huge"])


def test_a_configuration_comes_back_from_its_file(tmp_path: Path) -> None:
    save_config(large(), tmp_path / "config.yaml")
    assert FAMILY.load(tmp_path / "config.yaml") == large()


def test_the_job_module_is_imported_when_it_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match="toy_job"):
        FAMILY.make_dry_model(Config())
    job, calls = ModuleType("toy_job"), []
    for name in ("make_job", "make_dry_model", "export_weights"):
        setattr(job, name, lambda *args, name=name: calls.append((name, args)) or name)
    monkeypatch.setitem(sys.modules, "toy_job", job)
    run = Config()
    assert FAMILY.make_job(run, tmp_path, None) == "make_job"
    assert FAMILY.make_dry_model(run) == "make_dry_model"
    assert FAMILY.export_weights({}, {}, tmp_path, 3) == "export_weights"
    assert calls == [("make_job", (run, tmp_path, None)), ("make_dry_model", (run,)),
                     ("export_weights", ({}, {}, tmp_path, 3))]  # fmt: skip


def test_a_dry_run_prints_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert FAMILY.main(["recipe=large", "--dryrun"]) == 0
    assert "size: 40" in capsys.readouterr().out
    assert FAMILY.main(["data.sizze=3"]) == 2
    assert "data.size" in capsys.readouterr().err
