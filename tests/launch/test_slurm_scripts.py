import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launch.tools import find_tool
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = "launch/slurm/train.sbatch"
FAKE = str(Path(__file__).with_name("recipe_that_ends.py"))
SHELL_FILES = sorted([*ROOT.glob("launch/slurm/*.s*"), *ROOT.glob("docker/*.sh"), ROOT / ".ci" / "run"])


@pytest.mark.parametrize("file", SHELL_FILES, ids=lambda file: file.name)
def test_shellcheck_finds_nothing(file: Path):
    shellcheck = find_tool("shellcheck")
    done = subprocess.run([shellcheck, "-x", str(file)], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout


def submit(slurm, tmp_path: Path, *arguments: str, options: tuple[str, ...] = (), **env: str) -> tuple[str, Path]:
    out = tmp_path / "job.out"
    command = (*options, f"--output={out}", SCRIPT, *arguments)
    return slurm.submit(*command, cwd=ROOT, PYTHON=sys.executable, **env), out


@pytest.mark.parametrize("status", [0, 2, 1, 130])
def test_other_statuses_end_the_job(slurm, tmp_path: Path, status: int):
    job, out = submit(slurm, tmp_path, FAKE, str(status), options=("--ntasks-per-node=2",))
    found = slurm.wait(job)
    assert found["ExitCode"] == f"{status}:0", out.read_text()
    assert found["Restarts"] == "0"
    text = out.read_text()
    for rank in "01":
        assert f"'RANK': '{rank}', 'WORLD_SIZE': '2', 'LOCAL_RANK': '{rank}', 'LOCAL_WORLD_SIZE': '2'" in text
    assert "requeued" not in text


def test_a_hung_rank_is_started_again_but_not_for_ever(slurm, tmp_path: Path):
    job, out = submit(slurm, tmp_path, FAKE, "75", MAX_RESTARTS="1")
    found = slurm.wait(job)
    assert (found["ExitCode"], found["Restarts"]) == ("75:0", "1"), out.read_text()
    text = out.read_text()
    assert text.count("ranks exited with status 75") == 2
    assert text.count("status 75: requeued, restart 1") == 1
    assert "status 75 after 1 restarts (MAX_RESTARTS): not requeued" in text
    ports = re.findall(r"\d+ ranks on \S+, \S+:(\d+)", text)
    assert len(set(ports)) == 2


@pytest.mark.slow
def test_every_rank_saves_on_sigusr1_even_one_that_begins_late(slurm, tmp_path: Path):
    job, out = submit(slurm, tmp_path, FAKE, "train", options=("--ntasks-per-node=2",))
    slurm.until(lambda: out.is_file() and "training" in out.read_text(), "the first rank")
    slurm.run("scancel", "--batch", "--signal=USR1", job)
    found = slurm.wait(job)
    text = out.read_text()
    assert (found["ExitCode"], found["Restarts"]) == ("0:0", "1"), text
    for line in ("rank 0 saved after restart 0", "rank 1 saved after restart 0", "ranks exited with status 138"):
        assert line in text
    assert "restart 1 will resume from the newest checkpoint" in text
    assert "rank 1 saved after restart 1" in text


def test_a_cancelled_job_saves_and_stays_cancelled(slurm, tmp_path: Path):
    job, out = submit(slurm, tmp_path, FAKE, "train")
    slurm.until(lambda: out.is_file() and "training" in out.read_text(), "the rank")
    slurm.run("scancel", job)
    found = slurm.wait(job)
    assert found["JobState"] == "CANCELLED"
    slurm.until(lambda: not slurm.run("squeue", "--noheader").strip(), "an empty queue")
    assert "rank 0 saved after restart 0" in out.read_text()
    assert "requeued, restart" not in out.read_text()


def test_a_recipe_that_is_not_there_is_refused(slurm, tmp_path: Path):
    job, out = submit(slurm, tmp_path, "recipes/no_such.py")
    assert slurm.wait(job)["ExitCode"] == "2:0"
    assert "usage, from the root of the repository" in out.read_text()
    assert "recipes/no_such.py" in out.read_text()


def fake_slurm(folder: Path, **commands: str) -> dict[str, str]:
    """Put shell scripts in the place of SLURM's commands; returns an environment that finds them first."""
    for name, text in commands.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (folder / name).chmod(0o755)
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_NTASKS": "4", "SLURM_CPUS_PER_TASK": "3"}
    return os.environ | job | {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize("contained", [True, False])
def test_container_flags_are_given_only_with_an_image(tmp_path: Path, contained: bool):
    env = fake_slurm(tmp_path, scontrol="printf 'n1\\nn2\\n'", srun='printf "<%s>\\n" "$@"; env')
    env.pop("PYTHON", None)
    if contained:
        env |= {"CONTAINER_IMAGE": "nvcr.io#nvidia/pytorch:25.09-py3", "CONTAINER_MOUNTS": "/data:/data:ro"}
    command = ["bash", SCRIPT, "recipes/lidar_tokenizer.py", "log.name=two words"]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    words = re.findall(r"^<(.*)>$", done.stdout, re.MULTILINE)
    assert words[-2:] == ["recipes/lidar_tokenizer.py", "log.name=two words"]
    flags = [word for word in words if word.startswith("--container")]
    expected = [
        "--container-image=nvcr.io#nvidia/pytorch:25.09-py3",
        f"--container-workdir={ROOT}",
        f"--container-mounts={ROOT}:{ROOT},/data:/data:ro",
    ]
    assert flags == (expected if contained else [])
    assert "MASTER_ADDR=n1" in done.stdout
    assert "SRUN_CPUS_PER_TASK=3" in done.stdout
