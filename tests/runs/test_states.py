"""State of a run from what its folder records."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from cosmos_lidar.runs.states import Progress, state_of
from cosmos_lidar.training.owner import Owner, this_process
from tests.runs.conftest import ENDED, KILLED

CASES = [
    ("running", "process", this_process(), True, Progress(10, 0, 30)),
    ("finished", "", ENDED, False, Progress(30, 30, 30)),
    ("finished", "no checkpoint of the last step", ENDED, False, Progress(30, 20, 30)),
    ("finished", "", KILLED, False, Progress(30, 30, 30)),
    ("interrupted", "saved after step 20", ENDED, False, Progress(20, 20, 30)),
    ("interrupted", "killed", KILLED, False, Progress(30, 20, 30)),
    ("failed", "error after step 25; newest checkpoint: 20", ENDED, False, Progress(25, 20, 30)),
    ("failed", "newest checkpoint: none", ENDED, False, Progress(0, 0, 30)),
    ("unknown", "earlier version", None, False, Progress(20, 20, 30)),
    ("finished", "", None, False, Progress(30, 30, 30)),
    ("unknown", "options", ENDED, False, Progress(20, 20, None)),
]


@pytest.mark.parametrize(("state", "reason", "owner", "alive", "progress"), CASES)
def test_state(tmp_path: Path, state: str, reason: str, owner: Owner | None, alive: bool, progress: Progress) -> None:
    found = state_of(tmp_path, owner, alive, progress)
    assert found[0] == state
    assert reason in found[1]


def test_a_hang_and_a_loss_that_is_not_finite_are_failures(tmp_path: Path) -> None:
    progress = Progress(20, 10, 30)
    (tmp_path / "metrics.csv").touch()
    (tmp_path / "hang.txt").touch()
    os.utime(tmp_path / "hang.txt", (0, 0))
    assert state_of(tmp_path, KILLED, False, progress)[0] == "interrupted", "it hung before its last rows"
    (tmp_path / "hang.txt").touch()
    assert "hang.txt" in state_of(tmp_path, KILLED, False, progress)[1]
    (tmp_path / "dumps" / "step_000000017").mkdir(parents=True)  # replayed
    assert "hang.txt" in state_of(tmp_path, KILLED, False, progress)[1]
    (tmp_path / "dumps" / "step_000000021").mkdir()
    for owner in (KILLED, replace(KILLED, ended=True)):
        assert state_of(tmp_path, owner, False, progress)[0] == "failed"
        assert "step 21 not finite" in state_of(tmp_path, owner, False, progress)[1]
