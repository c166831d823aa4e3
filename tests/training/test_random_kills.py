"""A run with two loader workers that is killed again and again, at random, has the losses of one that never was.

``COSMOS_LIDAR_KILLS`` sets how often (20); ``COSMOS_LIDAR_KILLS_SEED`` when.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path

import pytest

pytest.importorskip("nemo")

from tests.training.debug_runs import FEW, losses
from tests.workers.client import python

STEPS = 40
OPTIONS = [*FEW, f"trainer.max_steps={STEPS}", "trainer.save_every=2", "trainer.keep_last=2", "trainer.log_every=1",
           "data.workers=2"]  # fmt: skip
# Ends itself with SIGKILL some time after a step: at work, while a checkpoint is written, or while workers start.
PROGRAM = """
import os, signal, sys, threading
from cosmos_lidar.recipes import dit
from cosmos_lidar.training.model import TrainedModel
from cosmos_lidar.training.overrides import apply_overrides

steps, delay_s, taken, train = int(sys.argv[1]), float(sys.argv[2]), [], TrainedModel.training_step

def step(self, *batch):
    taken.append(1)
    if len(taken) == steps:
        threading.Timer(delay_s, os.kill, (os.getpid(), signal.SIGKILL)).start()
    return train(self, *batch)

TrainedModel.training_step = step
dit.train(apply_overrides(dit.debug(), sys.argv[3:]))
os._exit(0)  # an endless loader takes 5 s per worker to be dropped
"""


def train(root: Path, name: str, steps: int = 0, delay_s: float = 0.0) -> int:
    """Train until the end, or until ``delay_s`` after ``steps`` steps; return the exit status."""
    done = python("-c", PROGRAM, steps, delay_s, *OPTIONS, f"log.root={root}", f"log.name={name}")
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


@pytest.mark.slow
def test_random_kills_change_nothing(tmp_path: Path) -> None:
    wanted, seed = int(os.environ.get("COSMOS_LIDAR_KILLS", "20")), os.environ.get("COSMOS_LIDAR_KILLS_SEED", "1")
    rng, kills, runs = random.Random(seed), 0, 0
    runs_of = tmp_path / "posttraining" / "diffusion"
    train(tmp_path, "whole")
    whole = losses(runs_of / "whole")
    assert len(whole) == STEPS
    while kills < wanted:
        name, runs = f"killed_{runs}", runs + 1
        while kills < wanted and train(tmp_path, name, rng.randint(1, 9), rng.uniform(0, 0.3)):
            kills += 1
        train(tmp_path, name)
        assert losses(runs_of / name) == whole, f"{name}, seed {seed}"
    sys.stdout.write(f"{kills} kills in {runs} runs of {STEPS} steps\n")
