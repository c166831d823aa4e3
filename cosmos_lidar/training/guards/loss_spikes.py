"""Loss spikes: losses far above the last ones by a robust z-score and by the largest deviations seen."""

from __future__ import annotations

import statistics
from collections import deque
from typing import Any

from cosmos_lidar.log import logger
from cosmos_lidar.training.config import GuardConfig

_MAD_TO_STD = 1.4826  # of a normal distribution
_MEMORY = 10  # windows whose largest deviation is remembered
_MARGIN = 3.0  # how much farther than any of these a spike lies, at least
_TAIL, _RATE = 3.0, 5e-5  # of Student's t with 3 degrees of freedom so many in a step lie beyond the margin


class SpikeGuard:
    """Detects loss spikes: each step's loss against those of the last steps.

    A loss is a spike when it lies more than ``guard.spike_score`` robust standard deviations above the median of the
    last ``guard.spike_window`` losses, and several times as far above it as any accepted loss of the last ten windows
    lay above its own: three times, and more where few losses are known. The second rule follows the tail of the losses:
    where that is heavy, a multiple of the typical deviation alone refuses one sound step in a thousand.

    Attributes:
        rollbacks: how often the run went back to a checkpoint.
    """

    def __init__(self, config: GuardConfig) -> None:
        self.config = config
        self.rollbacks = 0
        self._window: deque[float] = deque(maxlen=config.spike_window)
        self._above: deque[float] = deque(maxlen=_MEMORY * config.spike_window)
        self._refused: list[float] = []  # in a row

    def jumps(self, loss: float) -> bool:
        """Return whether ``loss`` is a spike; other losses are added to the window.

        After ``guard.most_skips`` spikes in a row the losses have a new level: it is accepted, and logged.
        """
        if self.config.spike == "off":
            return False
        if len(self._window) >= self.config.spike_window // 2 and self._is_spike(loss):
            self._refused.append(loss)
            if self.config.spike == "rollback" or len(self._refused) <= self.config.most_skips:
                return True
            self._accept_level()
            return False
        self._take(loss)
        return False

    def score(self, loss: float) -> float:
        """Return (loss - median) / (1.4826 MAD) over the window; a flat window counts as 1e-6 of its median."""
        middle = statistics.median(self._window)
        spread = statistics.median(abs(value - middle) for value in self._window) * _MAD_TO_STD
        return (loss - middle) / max(spread, 1e-6 * abs(middle), 1e-30)

    def _is_spike(self, loss: float) -> bool:
        above = loss - statistics.median(self._window)
        # of n values with tail probability x^-3, the next is beyond k times the largest in k^-3 / (n + 1) of all cases
        margin = max(_MARGIN, (1.0 / (_RATE * (len(self._above) + 1))) ** (1.0 / _TAIL))
        return above > margin * max(self._above, default=0.0) and self.score(loss) > self.config.spike_score

    def _take(self, loss: float) -> None:
        if len(self._window) >= self.config.spike_window // 2:
            self._above.append(loss - statistics.median(self._window))
        self._window.append(loss)
        if len(self._window) == self.config.spike_window // 2 and not self._above:
            middle = statistics.median(self._window)
            self._above.extend(value - middle for value in self._window)
        self._refused.clear()

    def _accept_level(self) -> None:
        before, now = statistics.median(self._window), statistics.median(self._refused)
        text = "the loss jumped in %d steps in a row, from about %.4g to %.4g: taken as its new level"
        logger.warning(text, len(self._refused), before, now)
        self._window.clear()
        self._above.clear()
        self._window.extend(self._refused)
        self._refused.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        lists = {"window": list(self._window), "above": list(self._above), "refused": list(self._refused)}
        return lists | {"rollbacks": self.rollbacks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what a checkpoint kept; the number of rollbacks only grows."""
        for name, kept in (("window", self._window), ("above", self._above)):
            kept.clear()
            kept.extend(state.get(name, ()))  # older checkpoints have a window alone
        self._refused = list(state.get("refused", ()))
        self.rollbacks = max(self.rollbacks, int(state["rollbacks"]))
