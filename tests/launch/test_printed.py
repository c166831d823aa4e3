"""Printed launch files: complete in themselves, and equal in effect to those of the checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cosmos_lidar.errors import UserError
from cosmos_lidar.launch.cluster import load_cluster
from cosmos_lidar.launch.printed import names, text_of
from tests.launch.tools import find_tool
from tests.waiting import PATIENCE_S

FAKE = Path(__file__).with_name("recipe_that_ends.py")


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """Return the printed batch script, alone in a folder."""
    path = tmp_path / "train.sbatch"
    path.write_text(text_of("slurm"))
    return path


def test_every_name_is_printed_and_others_are_refused(tmp_path: Path) -> None:
    assert {"slurm", "kubernetes", "local", "docker", "example"} <= set(names())
    for name in set(names()) - {"slurm", "slurm-prepare", "kubernetes"}:
        (tmp_path / "cluster.yaml").write_text(text_of(name))
        assert load_cluster(tmp_path / "cluster.yaml").executor in ("local", "docker", "slurm")
    assert "PyTorchJob" in {one["kind"] for one in yaml.safe_load_all(text_of("kubernetes"))}
    with pytest.raises(UserError, match="--print flux: valid: slurm, slurm-prepare, kubernetes, docker"):
        text_of("flux")


def test_the_batch_script_needs_no_file_of_the_repository(script: Path) -> None:
    text = script.read_text()
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "launch/slurm" not in text
    assert "source " not in text
    assert "-m cosmos_lidar train" in text
    done = subprocess.run([find_tool("shellcheck"), str(script)], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout


def test_the_batch_script_without_a_recipe_shows_its_usage(script: Path) -> None:
    done = subprocess.run(["bash", str(script)], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 2
    assert done.stdout.startswith("usage: sbatch train.sbatch RECIPE")


def test_slurm_runs_the_batch_script_from_any_folder(slurm, script: Path) -> None:
    python = script.with_name("python")  # stands in for the interpreter: runs the file that train would take as recipe
    python.write_text(f'#!/usr/bin/env bash\n[[ $1 $2 $3 == "-m cosmos_lidar train" ]] || exit 9\nshift 3\n'
                      f'exec {sys.executable} "$@"\n'.replace("$1 $2 $3", '"$1 $2 $3"'))  # fmt: skip
    python.chmod(0o755)
    out = script.with_name("job.out")
    job = slurm.submit(
        "--ntasks-per-node=2", f"--output={out}", str(script), str(FAKE), "2", cwd=script.parent, PYTHON=str(python)
    )
    assert slurm.wait(job)["ExitCode"] == "2:0", out.read_text()
    for rank in "01":
        assert f"'RANK': '{rank}', 'WORLD_SIZE': '2', 'LOCAL_RANK': '{rank}'" in out.read_text()
