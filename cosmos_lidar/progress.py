"""Progress bars with rate and remaining time on a terminal, log lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TypeVar

from cosmos_lidar.log import logger

T = TypeVar("T")
_LINE_EVERY_S = 15.0


def track(items: Iterable[T], label: str, unit: str = "it", total: int | None = None) -> Iterator[T]:
    """Yield from ``items`` and show progress: done/total, ``unit``/s and the remaining time.

    Args:
        items: the items to process.
        label: name of the task, such as ``"prepare"``.
        unit: name of the items, in the plural, such as ``"frames"``.
        total: number of items, for iterables without ``len``.
    """
    total = total if total is not None else (len(items) if hasattr(items, "__len__") else None)
    meter = Meter(label, unit, total)
    with meter:
        for item in items:
            yield item
            meter.advance(1)


class Meter:
    """Progress display that is advanced explicitly; a context manager.

    On a terminal it is a rich bar on standard error; elsewhere a log line every 15 s and one at the end.
    """

    def __init__(self, label: str, unit: str = "it", total: int | None = None) -> None:
        self.label, self.unit, self.total = label, unit, total
        self.done = 0
        self._bar = None

    def __enter__(self) -> Meter:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._started = self._logged = time.monotonic()
        console = Console(stderr=True)
        if console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            rate = TextColumn("{task.fields[rate]}")
            note = TextColumn("{task.fields[note]}")
            self._bar = Progress(*columns, rate, TimeRemainingColumn(), note, console=console)
            with suppress(OSError):  # the terminal may be gone, after SIGHUP
                self._bar.start()
            self._task = self._bar.add_task(self.label, total=self.total, rate="", note="")
        return self

    def advance(self, count: int = 1, note: str = "") -> None:
        """Add ``count`` to the progress; ``note`` is shown at the end of the line, such as ``"loss 0.21"``."""
        self.done += count
        now = time.monotonic()
        rate = f"{self.done / max(now - self._started, 1e-9):.1f} {self.unit}/s"
        if self._bar is not None:
            with suppress(OSError):
                self._bar.update(self._task, completed=self.done, rate=rate, note=note)
        elif now - self._logged > _LINE_EVERY_S:
            self._logged = now
            done = f"{self.done}/{self.total or '?'} {self.unit}"
            logger.info("%s: %s, %s%s %s", self.label, done, rate, self._left(now), note)

    def _left(self, now: float) -> str:
        if not self.total or not self.done:
            return ""
        return f", {(self.total - self.done) * (now - self._started) / self.done:.0f} s left"

    def __exit__(self, kind: type | None, value: BaseException | None, trace: object) -> None:
        if self._bar is not None:
            with suppress(OSError):
                self._bar.stop()
        elif kind is None:
            seconds = time.monotonic() - self._started
            logger.info(
                "%s: %d %s in %.1f s (%.1f %s/s)",
                self.label,
                self.done,
                self.unit,
                seconds,
                self.done / max(seconds, 1e-9),
                self.unit,
            )
