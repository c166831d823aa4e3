from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from cosmos_lidar.training.guards.step_flags import StepFlags
from cosmos_lidar.training.guards.stop_signals import StopSignals


@pytest.fixture
def stop() -> Iterator[StopSignals]:
    callback = StopSignals(StepFlags())
    callback.on_train_start(None, None)
    yield callback
    callback.on_train_end(None, None)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
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


def test_a_second_ctrl_c_stops_at_once(stop: StopSignals) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("end", ["on_train_end", "on_exception"])
def test_signals_are_given_back(end: str) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    callback = StopSignals(StepFlags())
    callback.on_train_start(None, None)
    assert signal.getsignal(signal.SIGTERM) not in before
    getattr(callback, end)(*[None] * (2 if end == "on_train_end" else 3))
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)] == before
