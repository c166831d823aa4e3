"""Stragglers: ranks whose own work takes longer than that of the others, who wait for them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

COLUMNS = ("slow_rank", "slow_ratio")
SLOW = 1.5  # times the median
WINDOW = 50  # steps
_SHARE = 0.1  # of a step, by which a rank must hold up the others
_PASSES = 3.0  # forward and backward take about three times as long as forward


class OwnTime:
    """Measures what a rank works on its own in a step, without waiting for other ranks.

    That is the wait for its batch, the update, and three times the forward pass of the network's blocks; what other
    ranks take part in (gathering weights, reducing gradients) lies outside the blocks. Blocks of ranks that share
    samples (context and tensor parallel) hold exchanges among these; such ranks are slow together.

    Args:
        blocks: modules that hold most of the work, not inside one another.
        on_gpu: their time is that of the device, by events; nothing waits for it before :meth:`read`.
    """

    def __init__(self, blocks: Iterable[nn.Module], on_gpu: bool) -> None:
        self._on_gpu = on_gpu
        self._forward = 0.0
        self._began: Any = None
        self._events: list[tuple[Any, Any]] = []
        self._hooks = [
            hook
            for block in blocks
            for hook in (
                block.register_forward_pre_hook(self._begin),
                block.register_forward_hook(self._end, prepend=True),
            )
        ]

    def read(self, other_s: float) -> float:
        """Return the seconds since the last call, and begin again; on a GPU, call this where it has been waited for.

        Args:
            other_s: waiting for the batch, and the update.
        """
        forward = self._forward + sum(begin.elapsed_time(end) for begin, end in self._events) / 1e3
        self._forward = 0.0
        self._events.clear()
        return other_s + _PASSES * forward

    def close(self) -> None:
        """Stop measuring."""
        for hook in self._hooks:
            hook.remove()

    def _mark(self) -> Any:
        if not self._on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _begin(self, module: nn.Module, inputs: Any) -> None:
        if torch.is_grad_enabled():  # not in validation
            self._began = self._mark()

    def _end(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if self._began is None:
            return
        if self._on_gpu:
            self._events.append((self._began, self._mark()))
        else:
            self._forward += time.perf_counter() - self._began
        self._began = None


@dataclass(frozen=True)
class Verdict:
    """Who is slow, over a window of steps.

    Attributes:
        ratios: time of each rank over the median of all.
        slow: all ranks that hold up the others, slowest first; empty if none does.
    """

    ratios: tuple[float, ...]
    slow: tuple[int, ...]


class Stragglers:
    """Finds ranks that took more than 1.5 times the median, in the mean over a window of 50 steps.

    A rank counts only if it holds up the others by a tenth of a step.
    """

    def __init__(self, window: int = WINDOW) -> None:
        self.window = window
        self.last: Verdict | None = None
        self._sums: list[float] = []
        self._steps, self._step_s = 0, 0.0

    def add(self, own_s: Sequence[float], step_s: float) -> Verdict | None:
        """Take the times of a step; returns a verdict at the end of each window, else None.

        Args:
            own_s: seconds of each rank's own work.
            step_s: seconds of the whole step.
        """
        self._sums = [sum(pair) for pair in zip(self._sums, own_s, strict=True)] if self._sums else list(own_s)
        self._steps, self._step_s = self._steps + 1, self._step_s + step_s
        if self._steps < self.window:
            return None
        self.last = judge(self._sums, self._step_s)
        self._sums, self._steps, self._step_s = [], 0, 0.0
        return self.last

    def values(self) -> dict[str, float]:
        """Return the last verdict as values of :data:`COLUMNS`; ``slow_rank`` only where a rank is slow."""
        if self.last is None:
            return {}
        ratio = {"slow_ratio": max(self.last.ratios)}
        return ratio | ({"slow_rank": self.last.slow[0]} if self.last.slow else {})


def judge(own_s: Sequence[float], step_s: float) -> Verdict:
    """Return which ranks are slow.

    Args:
        own_s: seconds of each rank's own work over some steps.
        step_s: seconds of these steps.
    """
    middle = statistics.median_low(own_s)
    order = sorted(range(len(own_s)), key=lambda rank: -own_s[rank])
    slow = tuple(rank for rank in order if own_s[rank] > SLOW * middle and own_s[rank] - middle > _SHARE * step_s)
    return Verdict(tuple(one / max(middle, 1e-9) for one in own_s), slow)
