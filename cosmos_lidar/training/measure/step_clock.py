"""Where the time of a step goes."""

from __future__ import annotations

import time

PARTS = ("data_s", "compute_s", "optimizer_s", "save_s")


class StepClock:
    """Sums of seconds since the last :meth:`read`, by part of the step.

    ``data_s``: waiting for the next batch; ``compute_s``: forward, backward and the exchange of gradients up to the
    look at their norm, which waits for the device; ``optimizer_s``: the update (on a GPU: handing it over) and what
    follows it, such as the average of the weights; ``save_s``: the training standing still for a checkpoint.
    Validation counts nowhere.
    """

    def __init__(self) -> None:
        self.sums = dict.fromkeys(PARTS, 0.0)
        self.steps = 0
        self._mark = time.perf_counter()

    def lap(self, part: str | None) -> None:
        """Add the time since the last lap to ``part``; None drops it."""
        now = time.perf_counter()
        if part is not None:
            self.sums[part] += now - self._mark
        self._mark = now

    def read(self) -> dict[str, float]:
        """Return the mean of each part over the steps since the last call, and begin again."""
        means = {part: total / max(self.steps, 1) for part, total in self.sums.items()}
        self.sums, self.steps = dict.fromkeys(PARTS, 0.0), 0
        return means
