"""A run whose disk is full for some steps: no file takes another byte (RLIMIT_FSIZE), whichever library writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_lidar.training.checkpoint.reading import load_state
from tests.training.debug_runs import FEW, losses
from tests.workers.client import python

pytest.importorskip("nemo")
pytest.importorskip("megatron.energon")

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import os, resource, sys
from cosmos_lidar.training.checkpoint import callback
from cosmos_lidar.training.model import TrainedModel
callback.LAST_PAUSE_S = 0.01
first, last = (int(word) for word in os.environ["FULL"].split("-"))
train = TrainedModel.training_step
def full(yes):
    resource.setrlimit(resource.RLIMIT_FSIZE, (0 if yes else resource.RLIM_INFINITY, resource.RLIM_INFINITY))
def step(self, batch, index):
    for one in self.trainer.callbacks:  # so that each save meets the disk as it was when it began
        if isinstance(one, callback.Checkpoints) and one.store._thread is not None:
            one.store._thread.join()
    full(first <= self.global_step + 1 <= last)
    return train(self, batch, index)
TrainedModel.training_step = step
tries, begin = [0], callback.Checkpoints._begin
def count(self, trainer, model):
    if trainer.global_step == 8:
        tries[0] += 1
        full(tries[0] < int(os.environ.get("ROOM_AT_TRY", 0)))
    begin(self, trainer, model)
callback.Checkpoints._begin = count
from cosmos_lidar.training import command_line
kept, complain = [], command_line._complain
command_line._complain = lambda text: (kept.append(text), complain(text))  # standard error is a file, and full
from cosmos_lidar.recipes import dit
status = dit.FAMILY.main()
full(False)
print("STATUS", status, *kept)
"""


def train(folder: Path, *options: str, **env: str) -> tuple[str, str]:
    words = [*FEW, "recipe=debug", f"log.root={folder}", "trainer.log_every=1", "trainer.save_every=2", *options]
    done = python("-c", PROGRAM, *words, env=env, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout, done.stderr


def test_a_disk_that_is_full_for_some_steps_costs_nothing_but_their_checkpoints(tmp_path: Path) -> None:
    options = ("log.tensorboard=true", "trainer.export=true", "trainer.keep_last=0", "trainer.val_every=1")
    said, lines = train(tmp_path, *options, FULL="3-6")
    assert "STATUS 0" in said
    assert "Traceback" not in lines
    folder = tmp_path / "posttraining" / "diffusion" / "debug"
    assert [int(step) for step, _ in losses(folder)] == list(range(1, 9))
    checkpoints = folder / "checkpoints"
    names = {int(path.name[5:]) for path in checkpoints.glob("iter_*") if path.is_dir()}
    assert {2, 8} <= names
    assert not {3, 4, 5, 6} & names
    assert load_state(checkpoints / "iter_000000008")["step"] == 8
    assert (checkpoints / "iter_000000008_reg_model.pt").is_file()
    assert not list(checkpoints.glob(".*"))


def test_the_checkpoint_that_a_run_ends_with_is_tried_until_there_is_room(tmp_path: Path) -> None:
    said, _ = train(tmp_path, FULL="7-8", ROOM_AT_TRY="4")
    assert "STATUS 0" in said
    folder = tmp_path / "posttraining" / "diffusion" / "debug"
    assert load_state(folder / "checkpoints" / "iter_000000008")["step"] == 8


def test_a_run_whose_last_checkpoint_cannot_be_written_says_so(tmp_path: Path) -> None:
    said, _ = train(tmp_path, FULL="7-8", ROOM_AT_TRY="1000")
    assert "STATUS 2" in said
    assert "checkpoint of step 8 could not be written in 0 minutes; what was trained since the one before" in said
