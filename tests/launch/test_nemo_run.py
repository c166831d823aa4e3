import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

pytest.importorskip("nemo_run")

from cosmos_lidar.launch import nemo_run
from tests.launch.programs import run_program
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "tests" / "training" / "example_family" / "line.py"
GOLDEN = Path(__file__).parent / "golden"
RECIPE = ["recipes/lidar_tokenizer.py", "recipe=debug", "log.name=two words", "optim.betas=[0.5,0.9]"]


def launch(home: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess:
    return run_program(home, "launch.nemo_run", *arguments, **{**env, "COLUMNS": "250"})


def without_places(text: str, home: Path) -> str:
    """Replace what differs from machine to machine and from run to run."""
    for value, name in ((sys.executable, "PYTHON"), (str(home), "HOME"), (str(ROOT), "ROOT")):
        text = text.replace(value, f"<{name}>")
    return re.sub(r"lidar_tokenizer_\d{10,}", "lidar_tokenizer_<TIME>", text)


@pytest.mark.parametrize(
    "cluster", ["docker", *(pytest.param(one, marks=pytest.mark.slow) for one in ("local", "example"))]
)
def test_dry_run_prints_what_would_be_started(tmp_path: Path, cluster: str):
    gpus = ["--gpus", "2"] if cluster == "local" else []
    done = launch(tmp_path, "--cluster", f"launch/clusters/{cluster}.yaml", *gpus, "--dryrun", *RECIPE)
    assert done.returncode == 0, done.stderr
    golden = GOLDEN / f"{cluster}.txt"
    found = without_places(done.stdout, tmp_path)
    if os.environ.get("COSMOS_LIDAR_NEW_GOLDEN"):
        golden.write_text(found)
    assert found == golden.read_text()
    assert not list(tmp_path.rglob("code"))


def test_the_batch_script_passes_the_shell_and_carries_the_functions(tmp_path: Path):
    text = (GOLDEN / "example.txt").read_text()
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    assert (ROOT / "launch" / "slurm" / "ranks.sh").read_text() in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cluster", "no.yaml", "recipes/lidar_tokenizer.py"], "file no.yaml"),
        (["--cluster", "launch/clusters/local.yaml", "recipes/no.py"], "recipes/no.py: expected a recipe file"),
        (["--cluster", "launch/clusters/local.yaml", "--nodes", "2", *RECIPE], "several nodes need executor slurm"),
    ],
)
def test_wrong_input_ends_with_2(tmp_path: Path, arguments: list[str], message: str):
    done = launch(tmp_path, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("cluster", ["local", "docker", "example"])
def test_a_recipe_file_of_another_folder(tmp_path: Path, cluster: str):
    """On this machine it is started where it is, elsewhere from the package."""
    recipe = shutil.copy(EXAMPLE, tmp_path)
    arguments = ["--gpus", "2"] if cluster == "local" else []
    done = launch(
        tmp_path, "--cluster", f"launch/clusters/{cluster}.yaml", *arguments, "--dryrun", recipe, "recipe=debug"
    )
    assert done.returncode == 0, done.stderr
    place = recipe if cluster == "local" else EXAMPLE.name
    assert re.search(rf"\s{re.escape(str(place))} recipe=debug", done.stdout), done.stdout


def test_a_package_has_the_recipe_and_the_modules_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home = tmp_path / "my recipes"
    home.mkdir()
    shutil.copy(EXAMPLE, home)
    (home / "beside.py").write_text("")
    (home / "data.bin").write_text("")
    monkeypatch.chdir(home)
    recipe = nemo_run.find_recipe(EXAMPLE.name)
    assert recipe == str(home / EXAMPLE.name)
    packager, words = nemo_run._package([recipe, "a=1"])
    assert words == [EXAMPLE.name, "a=1"]
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)  # NeMo-Run's tar reads it
        packed = packager.package(ROOT, str(tmp_path), "job")
    with tarfile.open(packed) as tar:
        names = set(tar.getnames())
    assert {EXAMPLE.name, "beside.py", "recipes/dit.py", "cosmos_lidar/cli.py"} <= names
    assert "data.bin" not in names


def test_recipes_of_the_repository_are_found_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for path in ("recipes/dit.py", str(ROOT / "recipes" / "dit.py")):
        assert nemo_run.find_recipe(path) == "recipes/dit.py"
    assert nemo_run._package(["recipes/dit.py"])[1] == ["recipes/dit.py"]


@pytest.mark.parametrize(("steps", "status"), [pytest.param("2", 0, marks=pytest.mark.slow), ("none", 1)])
def test_local_runs_the_recipe_and_tells_how_it_ended(tmp_path: Path, steps: str, status: int):
    pytest.importorskip("nemo")
    small = ["recipe=debug", f"trainer.max_steps={steps}", "trainer.export=false", "log.name=two words"]
    arguments = ["--cluster", "launch/clusters/local.yaml", RECIPE[0], *small]
    done = launch(tmp_path / "home", *arguments, OUTPUT_ROOT=str(tmp_path / "runs"))
    assert done.returncode == status, done.stdout + done.stderr
    metrics = tmp_path / "runs" / "posttraining" / "tokenizer" / "two words" / "metrics.csv"
    if status == 0:
        assert metrics.read_text().splitlines()[-1].startswith("2,")
    else:
        assert "trainer.max_steps=none: expected int" in done.stdout + done.stderr


SLURM = """\
executor: slurm
partition: low
time: "0:10:00"
ranks_per_node: 2
python: {python}
output_root: {runs}
env:
  OMP_NUM_THREADS: 1
"""


@pytest.mark.slow
def test_a_job_submitted_to_slurm_is_stopped_requeued_and_ends(slurm, tmp_path: Path):
    pytest.importorskip("nemo")
    steps, cluster, home = 200, tmp_path / "cluster.yaml", tmp_path / "home"
    cluster.write_text(SLURM.format(python=sys.executable, runs=tmp_path / "runs"))
    rare = ["trainer.save_every=0", "trainer.val_every=0", "trainer.val_at_start=false", "trainer.export=false"]
    recipe = [RECIPE[0], "recipe=debug", f"trainer.max_steps={steps}", "log.name=two words", *rare]
    done = launch(home, "--cluster", str(cluster), *recipe, **slurm.env)
    assert done.returncode == 0, done.stdout + done.stderr
    (job,) = set(slurm.run("squeue", "--noheader", "--format=%A").split())

    metrics = tmp_path / "runs" / "posttraining" / "tokenizer" / "two words" / "metrics.csv"
    rows = re.compile(r"^(\d+),\d", re.MULTILINE)
    slurm.until(lambda: metrics.is_file() and len(rows.findall(metrics.read_text())) > 10, "ten steps")
    slurm.run("scancel", "--batch", "--signal=USR1", job)
    found = slurm.wait(job)
    logs = "\n".join(file.read_text() for file in sorted(home.rglob("*.out")))
    assert (found["JobState"], found["ExitCode"], found["Restarts"]) == ("COMPLETED", "0:0", "1"), logs
    assert "ranks exited with status 138" in logs
    stopped_at = int(re.search(r"SIGUSR1 after step (\d+)", logs)[1])
    assert re.search(rf"resuming from \S*\s*\S*iter_0*{stopped_at}\b", logs), logs
    assert [int(step) for step in rows.findall(metrics.read_text())] == list(range(1, steps + 1))
