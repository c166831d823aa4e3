from __future__ import annotations

from pathlib import Path

from cosmos_lidar.training.guards.hangs import EXIT_STATUS
from tests.workers.client import python

PROGRAM = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from cosmos_lidar.training.guards.hangs import HangWatch
def stuck_here():
    time.sleep(1000)
watch = HangWatch(Path(sys.argv[1]), float(sys.argv[2]), rank=3)
watch.on_train_start(None, None)
watch.on_train_batch_end(SimpleNamespace(global_step=7), None, None, None, 0)
"""


def test_a_step_that_does_not_end_leaves_its_stack_and_the_status_for_another_try(tmp_path: Path) -> None:
    done = python("-c", PROGRAM + "stuck_here()", tmp_path / "run" / "hang.txt", 0.5)
    assert done.returncode == EXIT_STATUS == 75
    text = (tmp_path / "run" / "hang.txt").read_text()
    assert "=== rank 3, process " in text
    assert "after step 7" in text
    assert "in stuck_here" in text


def test_a_run_that_has_ended_is_not_watched(tmp_path: Path) -> None:
    end = "watch.on_train_end(None, None); time.sleep(1.5)"
    done = python("-c", PROGRAM + end, tmp_path / "hang.txt", 0.5)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "hang.txt").exists()
