"""Loss spikes, found by a robust z-score against the last steps."""

from __future__ import annotations

import statistics
from collections import deque
from typing import Any

from cosmos_lidar.training.config import GuardConfig

_MAD_TO_STD = 1.4826  # of a normal distribution


class SpikeGuard:
    """Detects loss spikes: each step's loss against median and median absolute deviation of the last ones.

    Attributes:
        rollbacks: how often the run went back to a checkpoint.
    """

    def __init__(self, config: GuardConfig) -> None:
        self.config = config
        self.rollbacks = 0
        self._window: deque[float] = deque(maxlen=config.spike_window)

    def jumps(self, loss: float) -> bool:
        """Return whether ``loss`` is a spike; other losses are added to the window."""
        if self.config.spike == "off":
            return False
        if len(self._window) >= self.config.spike_window // 2 and self.score(loss) > self.config.spike_score:
            return True
        self._window.append(loss)
        return False

    def score(self, loss: float) -> float:
        """Return (loss - median) / (1.4826 MAD) over the window; a flat window counts as 1e-6 of its median."""
        middle = statistics.median(self._window)
        spread = statistics.median(abs(value - middle) for value in self._window) * _MAD_TO_STD
        return (loss - middle) / max(spread, 1e-6 * abs(middle), 1e-30)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"window": list(self._window), "rollbacks": self.rollbacks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what a checkpoint kept; the number of rollbacks only grows."""
        self._window.clear()
        self._window.extend(state["window"])
        self.rollbacks = max(self.rollbacks, int(state["rollbacks"]))
