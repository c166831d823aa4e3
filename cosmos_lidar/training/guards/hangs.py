"""Hang watchdog: writes the stacks of every rank, names the ranks that are missing, and ends the run for a restart."""

from __future__ import annotations

import faulthandler
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from cosmos_lidar.errors import RESTART_STATUS
from cosmos_lidar.files import append_whole
from cosmos_lidar.log import logger
from cosmos_lidar.parallel.rendezvous import name_ranks
from cosmos_lidar.training.measure.step_clock import StepClock

EXIT_STATUS = RESTART_STATUS
_SLOWER = 3.0  # a step may take so much longer than the slowest one so far
_ANSWER_S = 10.0  # in which every rank that is alive writes its stacks
_SUMMARY = "=== all ranks: "  # of the lowest rank that answered; the others stay until it is written
_HEADER = re.compile(r"^=== rank (\d+), process \d+ on .*?, after step (\w+), (.*)$", re.MULTILINE)
_WAITING = ("/torch/distributed/", "/training/guards/step_flags.py", "/parallel/ranks.py", "/parallel/clip.py")


@dataclass(frozen=True)
class _Answer:
    """What a rank wrote: its last step, and what it is doing."""

    step: str
    doing: str

    @property
    def waits(self) -> bool:
        return self.doing.startswith("waiting for other ranks")


class HangWatch(Callback):
    """End the run with status 75 when nothing moves for too long; the stacks of all ranks go to one file first.

    Every rank watches itself: when one hangs, the others wait for it and run out of time, too. As soon as one rank has
    written its stacks, all others do; those that do not are named as missing.

    Args:
        file: all ranks append to it.
        timeout_s: longest time in which nothing moves, once the first step has ended; three times the slowest step
            where that is more.
        long_timeout_s: the same up to the first step, and in validation, saving and exports.
        rank: of this rank.
        ranks: number of all.
    """

    def __init__(self, file: Path, timeout_s: float, long_timeout_s: float, rank: int, ranks: int) -> None:
        self.file, self.timeout_s, self.rank, self.ranks = file, timeout_s, rank, ranks
        self.long_timeout_s = max(timeout_s, long_timeout_s)
        self._ended = threading.Event()
        self._clock: StepClock | None = None
        self._seen = self._step_began = time.perf_counter()
        self._slowest: float | None = None
        self._step, self._offset = "none", 0

    def begin(self) -> None:
        """Begin to watch, unless ``timeout_s`` is 0: from here on every rank is expected to get to the first step."""
        if not self.timeout_s:
            return
        self._seen = self._step_began = time.perf_counter()
        self._offset = self._size()
        threading.Thread(target=self._watch, name="hang watch", daemon=True).start()

    def end(self) -> None:
        """Stop watching."""
        self._ended.set()

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Note that the run is alive, and follow the parts of its steps."""
        self._seen, self._clock = time.perf_counter(), pl_module.clock

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Begin to measure a step."""
        self._step_began = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note that a step has ended."""
        self._seen, self._step = time.perf_counter(), str(trainer.global_step)
        self._slowest = max(self._slowest or 0.0, self._seen - self._step_began)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop watching."""
        self.end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Stop watching."""
        self.end()

    @property
    def limit_s(self) -> float:
        """Longest time in which nothing may move, now."""
        if self._slowest is None or (self._clock is not None and self._clock.takes_long):
            return self.long_timeout_s
        return min(max(self.timeout_s, _SLOWER * self._slowest), self.long_timeout_s)

    def _watch(self) -> None:
        while not self._ended.wait(min(1.0, self.timeout_s / 4)):
            last = max(self._seen, self._clock.last_lap if self._clock is not None else 0.0)
            limit = self.limit_s
            late = time.perf_counter() - last > limit
            if late or self._size() > self._offset:
                self._give_up(limit)

    def _give_up(self, limit: float) -> None:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            append_whole(self.file, self._stacks())
            answers = self._wait_for_answers()
            if self.rank != min(answers):
                self._wait_for(lambda: _SUMMARY.encode() in self._written())
                os._exit(EXIT_STATUS)
            summary = f"nothing moved for {limit:.0f} s: {describe(answers, self.ranks)}"
            logger.error("%s; stacks in %s", summary, self.file)
            append_whole(self.file, f"\n{_SUMMARY}{summary}\n".encode())
        except OSError as error:
            sys.stderr.write(self._stacks().decode(errors="replace"))
            logger.error("nothing moved for %.0f s; stacks above, as %s: %s", limit, self.file, error)
        os._exit(EXIT_STATUS)

    def _stacks(self) -> bytes:
        handle = os.memfd_create("stacks")
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        who = f"=== rank {self.rank}, process {os.getpid()} on {os.uname().nodename}, {now}"
        os.write(handle, f"\n{who}, after step {self._step}, {what_is_done()}\n".encode())
        faulthandler.dump_traceback(handle, all_threads=True)
        os.lseek(handle, 0, os.SEEK_SET)
        with os.fdopen(handle, "rb") as stream:
            return stream.read()

    def _wait_for_answers(self) -> dict[int, _Answer]:
        self._wait_for(lambda: len(self._answers()) == self.ranks)
        return self._answers()

    def _answers(self) -> dict[int, _Answer]:
        text = self._written().decode(errors="replace")
        return {int(rank): _Answer(step, doing) for rank, step, doing in _HEADER.findall(text)}

    def _written(self) -> bytes:
        """Return what all ranks have written since this watch began."""
        with self.file.open("rb") as stream:
            stream.seek(self._offset)
            return stream.read()

    @staticmethod
    def _wait_for(true: Callable[[], bool]) -> None:
        end = time.perf_counter() + _ANSWER_S
        while not true() and time.perf_counter() < end:
            time.sleep(0.1)

    def _size(self) -> int:
        try:
            return self.file.stat().st_size
        except OSError:
            return 0


def what_is_done() -> str:
    """Return what the main thread is doing: waiting for other ranks, or in which function it is."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    stack = traceback.extract_stack(frame) if frame is not None else []
    if not stack:
        return "ending"
    inner = f"{stack[-1].name} ({Path(stack[-1].filename).name}:{stack[-1].lineno})"
    waits = any(part in one.filename for one in stack for part in _WAITING)
    return f"waiting for other ranks in {inner}" if waits else f"busy in {inner}"


def describe(answers: dict[int, _Answer], ranks: int) -> str:
    """Return which ranks are missing or are not waiting for the others, in words.

    Args:
        answers: of the ranks that wrote something, by rank.
        ranks: number of all.
    """
    missing = [rank for rank in range(ranks) if rank not in answers]
    busy = [f"rank {rank} is {answer.doing}" for rank, answer in sorted(answers.items()) if not answer.waits]
    said = []
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        said.append(f"{name_ranks(missing)} {verb} missing: no answer (stopped, killed, or its machine is gone)")
    if busy and (len(busy) < len(answers) or len(answers) == 1):
        said += busy
    elif busy:
        said.append(f"all that answered are at work: {', '.join(busy)}")
    steps = sorted({answer.step for answer in answers.values()})
    return "; ".join([*said, f"last step that ended: {', '.join(steps)}"])
