from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from cosmos_lidar.training.guards.step_flags import StepFlags
from cosmos_lidar.training.guards.stop_signals import StopSignals, interrupts_pass
from tests.workers.client import python

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


@pytest.fixture
def stop() -> Iterator[StopSignals]:
    hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the tests run under nohup
    callback = StopSignals(StepFlags(), lambda: "iter_000000004")
    callback.on_train_start(None, None)
    yield callback
    callback.on_train_end(None, None)
    signal.signal(signal.SIGHUP, hangup)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP])
def test_the_run_ends_after_the_step(stop: StopSignals, number: signal.Signals) -> None:
    trainer = SimpleNamespace(should_stop=False, global_step=4)
    stop.on_train_batch_end(trainer, None, None, None, 0)
    assert not trainer.should_stop
    os.kill(os.getpid(), number)
    stop.on_train_batch_end(trainer, None, None, None, 0)
    assert not trainer.should_stop  # the ranks have not exchanged it yet
    stop.flags.exchange(torch.device("cpu"))
    stop.on_train_batch_end(trainer, None, None, None, 0)
    assert (trainer.should_stop, stop.received) == (True, number)


PROGRAM = """
import os, signal, sys, time
from cosmos_lidar.training.guards.step_flags import StepFlags
from cosmos_lidar.training.guards.stop_signals import StopSignals
stop = StopSignals(StepFlags(), lambda: "iter_000000004")
stop.on_train_start(None, None)
for pause in map(float, sys.argv[1:]):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(pause)
stop.on_train_end(None, None)
sys.exit(128 + stop.received)
"""


def test_ctrl_c_twice_within_two_seconds_is_one_press() -> None:
    done = python("-c", PROGRAM, 0.02, 0.02)
    assert done.returncode == 130
    assert done.stderr.count("Ctrl-C: the step is finished and saved, then the run ends") == 1
    assert "given up" not in done.stderr


def test_a_later_ctrl_c_gives_the_save_up_and_says_so() -> None:
    done = python("-c", PROGRAM, 2.1, 600)
    assert done.returncode == 130
    assert "the save is given up; the newest checkpoint is iter_000000004, what came after it is lost" in done.stderr


def test_a_terminal_that_closes_is_ignored_under_nohup() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        callback = StopSignals(StepFlags(), str)
        callback.on_train_start(None, None)
        os.kill(os.getpid(), signal.SIGHUP)
        callback.on_train_end(None, None)
        assert callback.received == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_trainer_does_not_change_the_status_of_ctrl_c() -> None:
    def interrupted() -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)  # as Lightning's Trainer does

    with pytest.raises(KeyboardInterrupt), interrupts_pass():
        interrupted()
    with pytest.raises(SystemExit), interrupts_pass():
        sys.exit(3)


@pytest.mark.parametrize("end", ["on_train_end", "on_exception"])
def test_signals_are_given_back(end: str) -> None:
    before = [signal.getsignal(number) for number in NUMBERS]
    callback = StopSignals(StepFlags(), str)
    callback.on_train_start(None, None)
    assert signal.getsignal(signal.SIGTERM) not in before
    getattr(callback, end)(*[None] * (2 if end == "on_train_end" else 3))
    assert [signal.getsignal(number) for number in NUMBERS] == before
