"""Start-up: packages that must not be imported before they are needed, in fresh interpreters; nothing is timed.

``benchmarks/startup.py`` measures the seconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
REPORT = """
import atexit, json, sys
@atexit.register
def report():
    print(json.dumps(sorted(sys.modules)))
"""
# Packages of which a command that only answers imports none, and the start of a training run none of the second.
HEAVY = {"torch", "lightning", "nemo", "megatron.energon", "numpy", "scipy", "pandas", "torchmetrics", "transformers"}
NOT_FOR_TRAINING = {
    "torchmetrics.functional",  # all metrics; Lightning needs two classes, see training/lazy_torchmetrics.py
    "scipy.signal",  # imported by torchmetrics
    "transformers",  # imported by torchmetrics, and by NeMo's exp_manager
    "pandas",  # imported by NeMo's exp_manager
    "s3fs",  # imported by Lightning's Tensorboard logger
    "aiohttp",
    "torchvision",
    "tensorboard",
    "wandb",
    "mlflow",
    "rerun",
}
MAIN = "runpy.run_path(sys.argv[0], run_name='__main__')"
MODULE = "runpy.run_module('cosmos_lidar', run_name='__main__', alter_sys=True)"
ANSWERS = {
    "help of a recipe": (MAIN, ["--help"], 0),
    "plan of a recipe": (MAIN, ["recipe=debug", "--dryrun"], 0),
    "wrong option of a recipe": (MAIN, ["recipe=debug", "trainer.max_step=1"], 2),
    "help": (MODULE, ["--help"], 0),
    "help of train": (MODULE, ["train", "dit", "--help"], 0),
    "plan by train": (MODULE, ["train", "dit", "recipe=debug", "--dryrun"], 0),
    "wrong option of train": (MODULE, ["train", "dit", "recipe=debug", "trainer.max_step=1"], 2),
}


def imported(program: str, *arguments: str, status: int = 0) -> set[str]:
    """Return the modules that a program has imported when it ends."""
    done = subprocess.run(
        [sys.executable, "-c", REPORT + program, *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == status, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("answer", ANSWERS)
def test_commands_that_only_answer_import_nothing_heavy(answer: str):
    run, words, status = ANSWERS[answer]
    program = f"import runpy; sys.argv = {[str(ROOT / 'recipes' / 'dit.py'), *words]!r}; {run}"
    assert imported(program, status=status) & HEAVY == set()


def test_training_imports_what_it_needs(tmp_path: Path):
    """In a whole run of one step, without loggers."""
    options = ["recipe=debug", "trainer.max_steps=1", "log.tensorboard=false", f"log.root={tmp_path}"]
    program = f"import runpy; sys.argv = {[str(ROOT / 'recipes' / 'dit.py'), *options]!r}; {MAIN}"
    modules = imported(program)
    assert {"torch", "lightning.pytorch", "nemo.core", "megatron.energon"} <= modules
    assert modules & NOT_FOR_TRAINING == set()
