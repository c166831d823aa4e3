"""NeMo-Run's own command line: a factory, options of every depth, export; a run of the debug recipe."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

pytest.importorskip("nemo_run")

from tests.launch.programs import run_program

ROOT = Path(__file__).resolve().parents[2]


def cli(home: Path, *arguments: str) -> subprocess.CompletedProcess:
    return run_program(home, "launch.nemo_run_cli", *arguments, "--yes", PYTHONPATH=str(ROOT))


def test_a_factory_takes_options_of_every_depth(tmp_path: Path):
    options = ["config.trainer.max_steps=7", "config.optim.betas=[0.5,0.8]", "config.log.name=two words"]
    file = tmp_path / "job.yaml"
    done = cli(tmp_path, "--factory", "recipe(name=dit,variant=debug)", *options, "--to-yaml", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    exported = yaml.safe_load(file.read_text())
    assert exported["_target_"] == "launch.nemo_run_cli.train"
    config = exported["config"]
    assert config["_target_"] == "cosmos_lidar.families.dit.config.DitTrainConfig"
    assert (config["trainer"]["max_steps"], config["log"]["name"]) == (7, "two words")
    assert list(config["optim"]["betas"]) == [0.5, 0.8]


@pytest.mark.parametrize(
    ("factory", "option", "message"),
    [
        ("recipe(name=dit,variant=nothing)", "config.trainer.max_steps=1", "unknown recipe 'nothing'; valid: "),
        ("recipe(name=dit,variant=debug)", "config.trainer.max_stepz=1", "max_stepz"),
    ],
)
def test_wrong_names_are_told_and_nothing_runs(tmp_path: Path, factory: str, option: str, message: str):
    done = cli(tmp_path, "--factory", factory, option, "--dryrun")
    assert message in " ".join((done.stdout + done.stderr).split())
    assert "Dry run for" not in done.stdout


@pytest.mark.slow  # imports NeMo and trains, in another process
def test_the_command_line_trains(tmp_path: Path):
    options = ["config.trainer.max_steps=2", f"config.log.root={tmp_path / 'runs'}"]
    done = cli(tmp_path, "--factory", "recipe(name=dit,variant=debug)", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "runs" / "posttraining" / "diffusion" / "debug"
    newest = json.loads((folder / "checkpoints" / "newest_checkpoint.json").read_text())
    assert newest["name"] == "iter_000000002"
