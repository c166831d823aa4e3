from __future__ import annotations

import re
from pathlib import Path

import pytest

from cosmos_lidar.training.guards.hangs import EXIT_STATUS, HangWatch
from cosmos_lidar.training.measure.step_clock import StepClock
from tests.workers.client import python, torchrun

PROGRAM = """
import os, sys, time
from pathlib import Path
from types import SimpleNamespace
from cosmos_lidar.training.guards import hangs
from cosmos_lidar.training.guards.hangs import HangWatch
from cosmos_lidar.training.measure.step_clock import StepClock
def stuck_here():
    time.sleep(1000)
rank, ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
watch = HangWatch(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), rank, ranks)
watch.begin()
model = SimpleNamespace(clock=StepClock())
watch.on_fit_start(None, model)
def step(number):
    watch.on_train_batch_start(None, model, None, 0)
    watch.on_train_batch_end(SimpleNamespace(global_step=number), model, None, None, 0)
"""


def test_a_step_that_does_not_end_leaves_its_stack_and_the_status_for_another_try(tmp_path: Path) -> None:
    done = python("-c", PROGRAM + "step(7); stuck_here()", tmp_path / "run" / "hang.txt", 0.5, 1000)
    assert done.returncode == EXIT_STATUS == 75
    text = (tmp_path / "run" / "hang.txt").read_text()
    assert re.search(r"=== rank 0, process \d+ on \S+, .*, after step 7, busy in stuck_here", text)
    assert "in stuck_here" in text


def test_a_run_that_has_ended_is_not_watched(tmp_path: Path) -> None:
    end = "step(7); watch.on_train_end(None, None); time.sleep(1.5)"
    done = python("-c", PROGRAM + end, tmp_path / "hang.txt", 0.5, 0.5)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "hang.txt").exists()


THREE = """
import torch.distributed as dist
from cosmos_lidar.log import configure
configure()
hangs._ANSWER_S = 4.0
dist.init_process_group("gloo")
step(7)
if rank == 2 and sys.argv[4] == "hangs":
    stuck_here()
if rank == 2:  # as if it were stopped, or its machine gone
    watch.end()
    time.sleep(20)
    os._exit(0)
dist.barrier()
"""


def test_the_rank_that_hangs_is_named_with_what_it_does(tmp_path: Path) -> None:
    done = torchrun(3, "-c", PROGRAM + THREE, tmp_path / "hang.txt", 1.0, 1000, "hangs")
    assert done.returncode != 0
    said = " ".join(done.stderr.split())
    assert re.search(r"nothing moved for \d+ s: rank 2 is busy in stuck_here \(\S+\); last step that ended: 7", said)
    text = (tmp_path / "hang.txt").read_text()
    assert len(re.findall("=== rank [012], .*waiting for other ranks in ", text)) == 2


def test_a_rank_that_does_not_answer_is_named_as_missing(tmp_path: Path) -> None:
    done = torchrun(3, "-c", PROGRAM + THREE, tmp_path / "hang.txt", 1.0, 1000, "is gone")
    assert done.returncode != 0
    said = " ".join(done.stderr.split())
    assert "rank 2 is missing: no answer (stopped, killed, or its machine is gone); last step that ended: 7" in said


def test_up_to_the_first_step_and_in_long_work_the_longer_time_holds() -> None:
    watch, clock = HangWatch(Path("none"), 300.0, 1800.0, 0, 1), StepClock()
    watch._clock = clock
    assert watch.limit_s == 1800.0
    for slowest, limit in ((10.0, 300.0), (200.0, 600.0), (1e4, 1800.0)):
        watch._slowest = slowest
        assert watch.limit_s == pytest.approx(limit)
    watch._slowest = 1.0
    with clock.long_work():
        assert watch.limit_s == 1800.0
    assert watch.limit_s == 300.0
    assert HangWatch(Path("none"), 7200.0, 1800.0, 0, 1).limit_s == 7200.0
