"""Hang watchdog: writes the stacks of every rank and ends the run so that it can be restarted."""

from __future__ import annotations

import faulthandler
import fcntl
import os
import threading
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from cosmos_lidar.log import logger

EXIT_STATUS = 75  # "temporary failure" of sysexits.h: worth another try


class HangWatch(Callback):
    """End the run with status 75 when no step has finished for ``timeout_s``; all stacks go to one file first.

    Every rank watches itself: when one hangs, the others wait for it and run out of time, too. Validation and saving
    count as part of the step that they follow.

    Args:
        file: all ranks append to it.
        timeout_s: longest time of a step.
        rank: of this rank.
    """

    def __init__(self, file: Path, timeout_s: float, rank: int) -> None:
        self.file, self.timeout_s, self.rank = file, timeout_s, rank
        self._ended = threading.Event()
        self._seen = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to watch."""
        self._seen = time.monotonic()
        threading.Thread(target=self._watch, name="hang watch", daemon=True).start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note that the run is alive."""
        self._seen, self._step = time.monotonic(), trainer.global_step

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop watching."""
        self._ended.set()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Stop watching."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(min(1.0, self.timeout_s / 4)):
            if time.monotonic() - self._seen > self.timeout_s:
                self._write_stacks()
                logger.error("no step ended for %.0f s: stacks in %s", self.timeout_s, self.file)
                os._exit(EXIT_STATUS)

    def _write_stacks(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            now = time.strftime("%Y-%m-%d %H:%M:%S")
            stream.write(f"\n=== rank {self.rank}, process {os.getpid()}, {now}, after step {self._last()}\n")
            stream.flush()
            faulthandler.dump_traceback(stream, all_threads=True)

    def _last(self) -> str:
        return str(getattr(self, "_step", "none"))
