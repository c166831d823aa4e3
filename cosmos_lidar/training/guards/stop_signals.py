"""Ctrl-C, SIGTERM and SIGUSR1: finish the step, save a checkpoint, stop on all ranks at the same step."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from cosmos_lidar.log import logger
from cosmos_lidar.training.guards.step_flags import StepFlags

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class StopSignals(Callback):
    """Turn the first signal into a wish to stop, agreed between ranks after each step; a second Ctrl-C stops at once.

    Args:
        flags: of the model; they carry the signal to the other ranks.

    Attributes:
        received: number of the signal that ended the run (on any rank), 0 if none did.
    """

    def __init__(self, flags: StepFlags) -> None:
        self.flags, self.received = flags, 0
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the signals."""
        self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}

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
        """Give the signals back."""
        self._give_back()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the signals back."""
        self._give_back()

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.flags.own["signal"] and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.flags.own["signal"] = float(number)
