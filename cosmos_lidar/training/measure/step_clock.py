"""Where the time of a step goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

PARTS = ("data_s", "compute_s", "optimizer_s", "save_s")
_OWN = ("data_s", "optimizer_s")  # in which no rank waits for another


class StepClock:
    """Sums of seconds since the last :meth:`read`, by part of the step.

    ``data_s``: waiting for the next batch; ``compute_s``: forward, backward and the exchange of gradients up to the
    look at their norm, which waits for the device; ``optimizer_s``: the update (on a GPU: handing it over) and what
    follows it, such as the average of the weights; ``save_s``: the training standing still for a checkpoint.
    Validation counts nowhere.

    Attributes:
        last_lap: when :meth:`lap` was called last, by ``time.perf_counter``.
        takes_long: the run is at something that may take longer than a step.
    """

    def __init__(self) -> None:
        self.sums = dict.fromkeys(PARTS, 0.0)
        self.steps = 0
        self.last_lap = time.perf_counter()
        self._long, self._own = 0, 0.0

    @property
    def takes_long(self) -> bool:  # noqa: D102 - among the attributes of the class
        return self._long > 0

    @contextmanager
    def long_work(self) -> Iterator[None]:
        """Mark what may take longer than a step: validation, waiting for a checkpoint, exports."""
        self._long += 1
        try:
            yield
        finally:
            self._long -= 1

    def lap(self, part: str | None) -> None:
        """Add the time since the last lap to ``part``; None drops it."""
        now = time.perf_counter()
        if part is not None:
            self.sums[part] += now - self.last_lap
            self._own += (now - self.last_lap) * (part in _OWN)
        self.last_lap = now

    def take_own(self) -> float:
        """Return the seconds of ``data_s`` and ``optimizer_s`` since the last call."""
        own, self._own = self._own, 0.0
        return own

    def read(self) -> dict[str, float]:
        """Return the mean of each part over the steps since the last call, and begin again."""
        means = {part: total / max(self.steps, 1) for part, total in self.sums.items()}
        self.sums, self.steps = dict.fromkeys(PARTS, 0.0), 0
        return means
