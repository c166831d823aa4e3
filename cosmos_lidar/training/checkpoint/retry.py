"""When a checkpoint that could not be written is tried again: soon at first, then once a minute."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

_LONGEST_S = 60.0
LAST_TRIES = 60  # of the checkpoint that a run ends with
LAST_PAUSE_S = 10.0


class SaveRetry:
    """Counts failed saves in a row, and schedules the next one: at once, then after 1, 2, 4 … 60 s.

    Args:
        clock: returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures, self._due_at = 0, 0.0

    def failed(self) -> None:
        """Note that a save failed."""
        pause = 0.0 if not self._failures else min(2.0 ** (self._failures - 1), _LONGEST_S)
        self._failures, self._due_at = self._failures + 1, self._clock() + pause

    def begun(self) -> None:
        """Note that a save is under way: none is due before its end is known."""
        self._due_at = math.inf

    def succeeded(self) -> None:
        """Note that a save went well."""
        self._failures = 0

    @property
    def due(self) -> bool:
        """A save has failed, and the time for another one has come."""
        return self._failures > 0 and self._clock() >= self._due_at

    @property
    def failing(self) -> bool:
        """The last save has failed."""
        return self._failures > 0
