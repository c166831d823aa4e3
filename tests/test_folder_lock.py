"""One run at a time in a folder."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.folder_lock import alone_in
from tests.waiting import PATIENCE_S, wait_until


def _hold(folder: Path, ready: multiprocessing.Event, with_child: bool) -> None:
    with alone_in(folder):
        if with_child and os.fork() == 0:
            parent = os.getppid()
            wait_until(lambda: os.getppid() != parent, "the end of the parent")
            time.sleep(0.3)  # a worker that outlives its parent for a moment
            (folder / "late.part").write_text("")
            os._exit(0)
        ready.set()
        time.sleep(PATIENCE_S)


def _held(folder: Path, with_child: bool) -> multiprocessing.Process:
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=_hold, args=(folder, ready, with_child))
    process.start()
    assert ready.wait(PATIENCE_S)
    return process


def test_a_second_run_is_refused_and_goes_ahead_when_the_first_has_ended(tmp_path: Path) -> None:
    first = _held(tmp_path, with_child=False)
    try:
        with pytest.raises(UserError, match="another run is writing to .*wait for its end"), alone_in(tmp_path, 0.2):
            pass
    finally:
        os.kill(first.pid, signal.SIGKILL)
    with alone_in(tmp_path):
        pass
    first.join()
    assert not list(tmp_path.iterdir())


def test_workers_of_a_killed_run_are_waited_for(tmp_path: Path) -> None:
    first = _held(tmp_path, with_child=True)
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    with alone_in(tmp_path, PATIENCE_S):
        assert (tmp_path / "late.part").exists()


def test_processes_forked_meanwhile_that_live_on_do_not_keep_the_folder(tmp_path: Path) -> None:
    with alone_in(tmp_path):
        child = os.fork()
        if child == 0:
            time.sleep(PATIENCE_S)
            os._exit(0)
    try:
        with alone_in(tmp_path, 0.2):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
