"""Installed wheels at work outside the checkout: every step of a user with the extra ``train``, and without any."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.install.conftest import Built
from tests.install.environments import make_environment

Run = Callable[..., str]
pytestmark = pytest.mark.slow  # environments with and without extras


def runner(environment: Path, folder: Path) -> Run:
    """Return a function that runs a program of an environment in ``folder`` and returns what it wrote."""

    def run(*words: str, status: int = 0) -> str:
        env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
        command = [str(environment / "bin" / words[0]), *words[1:]]
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=400)
        assert done.returncode == status, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    return run


@pytest.fixture(scope="module")
def base(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return the programs of an environment with the base install, in a folder with drives."""
    folder = tmp_path_factory.mktemp("base")
    make_environment(folder / "env", built.wheel)
    run = runner(folder / "env", folder)
    run("cosmos-lidar", *"synth drives --drives 2 --frames 2 --sensor uniform64 --cameras front".split())
    return run


def test_the_base_install_has_no_optional_package(base: Run) -> None:
    code = "from cosmos_lidar import extras; print([one for one in extras.EXTRAS if extras._installed(one)])"
    assert base("python", "-c", code).splitlines()[0] == "[]"


@pytest.mark.parametrize("command", [
    "inspect drives",
    "view drives --html page.html",
    "doctor --json",
    "evaluate --baseline resize --data drives --max_frames 1",
    "completion bash",
    "train --help",
])  # fmt: skip
def test_the_base_install_reads_shows_and_measures_recordings(base: Run, command: str) -> None:
    status = 1 if command.startswith("doctor") else 0  # what training needs is not there
    assert "Traceback" not in base("cosmos-lidar", *command.split(), status=status)


def test_the_base_install_autoencodes_with_a_tokenizer(base: Run) -> None:
    code = (
        "from cosmos_lidar.models.tokenizer import build_tokenizer\n"
        "from cosmos_lidar.models.tokenizer.export import export_safetensors\n"
        "export_safetensors(build_tokenizer('CI8x8', channels=32, num_res_blocks=1), 'small.safetensors')\n"
    )
    base("python", "-c", code)
    words = "autoencode --sample_path drives --checkpoint small.safetensors --output_folder a --max_frames 1"
    base("cosmos-lidar", *words.split())


@pytest.mark.parametrize("command", [
    "train dit recipe=debug", "demo --out demo", "prepare drives shards", "doctor dit recipe=debug",
    "view drives --rrd drives.rrd", "encode-views drives latents --lidar-tokenizer x --image-tokenizer y",
])  # fmt: skip
def test_what_needs_an_extra_names_it_in_one_line(base: Run, command: str) -> None:
    said = base("cosmos-lidar", *command.split(), status=2)
    assert "pip install 'cosmos_lidar[" in said
    assert len(said.splitlines()) == 1, said


def test_a_wheel_trains_exports_and_autoencodes_without_the_checkout(built: Built, tmp_path: Path) -> None:
    make_environment(tmp_path / "env", built.wheel, extras=("train",))
    run = runner(tmp_path / "env", tmp_path)
    run("cosmos-lidar", *"synth drives --drives 3 --frames 4 --sensor uniform64".split())
    run("cosmos-lidar", *"prepare drives shards --split 0.7,0.3,0 --frames-per-sample 2".split())
    run("cosmos-lidar", *"check shards".split())
    options = "recipe=debug data.path=shards trainer.max_steps=2 trainer.save_every=2 log.root=runs log.name=a".split()
    run("cosmos-lidar", "doctor", "lidar_tokenizer", *options)
    run("cosmos-lidar", "train", "lidar_tokenizer", *options)
    run("python", "-m", "cosmos_lidar.recipes.lidar_tokenizer", *options)  # as torchrun -m does; the run is complete
    (checkpoint,) = {path.parent for path in (tmp_path / "runs").rglob("checkpoints/*/*.distcp")} or [None]
    run("cosmos-lidar", "export", str(checkpoint), "--out", "exported")
    (encoder,) = (tmp_path / "exported").glob("*enc*.jit")
    (decoder,) = (tmp_path / "exported").glob("*dec*.jit")
    words = ["--enc_path", str(encoder), "--dec_path", str(decoder), "--output_folder", "a", "--max_frames", "1"]
    run("cosmos-lidar", "autoencode", "--sample_path", "drives", *words)
    assert list((tmp_path / "dump_results").rglob("*.mp4"))
    for name, started in (("local", "cosmos_lidar/recipes/dit.py"), ("example", "cosmos_lidar/launch/slurm/rank.sh")):
        (tmp_path / "cluster.yaml").write_text(run("cosmos-lidar", "launch", "--print", name))
        assert started in run("cosmos-lidar", *"launch --cluster cluster.yaml --dryrun dit recipe=debug".split())
    words = ["--factory", "recipe(name=dit,variant=debug)", "config.trainer.max_steps=5", "--dryrun", "--yes"]
    assert "Dry run for train" in run("python", "-m", "cosmos_lidar.launch.nemo_run_cli", *words)
