"""Workers end with the process that started them, however that ends; Ctrl-C is deferred to where it can be handled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cosmos_lidar.workers import interrupt_deferred
from tests.waiting import is_alive, wait_until

PARENT = """
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from cosmos_lidar.workers import end_with_parent

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    pool = ProcessPoolExecutor(2, mp_context=context, initializer=end_with_parent)
    pids = {pool.submit(os.getpid).result()}
    pool.submit(time.sleep, 600)
    pool.submit(time.sleep, 600)
    while len(multiprocessing.active_children()) < 2:
        time.sleep(0.02)
    print(*[process.pid for process in multiprocessing.active_children()], flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked at in /proc")
@pytest.mark.parametrize("way", ["fork", "spawn"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_killed_with_the_parent(tmp_path: Path, way: str, how: signal.Signals) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, str(script), way], stdout=subprocess.PIPE, text=True)
    workers = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(workers) == 2
    assert all(map(is_alive, workers))
    os.kill(parent.pid, how)
    parent.wait()
    wait_until(lambda: not any(map(is_alive, workers)), "the end of the workers")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt; in background jobs it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_first_interrupt_is_deferred_the_second_raises(interruptible) -> None:
    with interrupt_deferred() as interrupted:
        assert not interrupted()
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_handler_is_left_alone(interruptible) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupt_deferred() as interrupted:
        os.kill(os.getpid(), signal.SIGINT)
        assert not interrupted()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
