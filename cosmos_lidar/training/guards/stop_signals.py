"""Ctrl-C, SIGTERM, SIGHUP and SIGUSR1: finish the step, save a checkpoint, stop on all ranks at the same step."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from cosmos_lidar.log import logger
from cosmos_lidar.parallel.mesh import process_rank
from cosmos_lidar.training.guards.step_flags import StepFlags

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
_SAME_PRESS_S = 2.0  # a launcher forwards the Ctrl-C that the terminal has sent already


class StopSignals(Callback):
    """Turn a signal into a wish to stop, agreed between ranks after each step, so that the last step is saved.

    Further signals change nothing, but for a second Ctrl-C, two seconds or more after the first: the process ends at
    once with status 130, and logs what is lost. SIGHUP stays ignored where it was (``nohup``).

    Args:
        flags: of the model; they carry the signal to the other ranks.
        newest: returns the name of the newest checkpoint.

    Attributes:
        received: number of the signal that ended the run (on any rank), 0 if none did.
    """

    def __init__(self, flags: StepFlags, newest: Callable[[], str]) -> None:
        self.flags, self.newest, self.received = flags, newest, 0
        self._before: dict[int, Any] = {}
        self._interrupted_at: float | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the signals."""
        taken = [number for number in _SIGNALS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._note) for number in taken}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop after this step if one of the ranks was signaled before its update."""
        asked = self.flags.max_over_ranks("signal")
        if asked:
            self.received = asked
            trainer.should_stop = True
            logger.warning("%s after step %d: saving, then stopping", signal.Signals(asked).name, trainer.global_step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the signals back; one that came too late to be agreed on still shows in the exit status of this rank."""
        self.received = self.received or int(self.flags.own["signal"])
        self._give_back()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the signals back."""
        self._give_back()

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if number == signal.SIGINT and self._interrupted_at is not None:
            if now - self._interrupted_at >= _SAME_PRESS_S:
                self._give_up()
            return
        if number == signal.SIGINT:
            self._interrupted_at = now
            _say("Ctrl-C: the step is finished and saved, then the run ends; Ctrl-C again gives the save up")
        if not self.flags.own["signal"]:
            self.flags.own["signal"] = float(number)

    def _give_up(self) -> None:
        """End now: a rank may be waiting in a collective, or for a disk, from where no exception gets out."""
        newest = self.newest()
        _say(f"Ctrl-C again: the save is given up; the newest checkpoint is {newest}, what came after it is lost")
        os._exit(128 + signal.SIGINT)


def _say(text: str) -> None:
    """Write a line to standard error, on rank 0: a logger may hold its lock in the code that the signal interrupts."""
    if process_rank() == 0:
        with suppress(OSError):
            os.write(2, f"{text}\n".encode())


@contextmanager
def interrupts_pass() -> Iterator[None]:
    """Raise the KeyboardInterrupt that Lightning's Trainer turns into an exit with status 1."""
    try:
        yield
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from end
        raise
